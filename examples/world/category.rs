//! Categories of goods and how demand for each behaves.
//!
//! What a category does — its week, its year, how it answers to promotions, prices, coupons and holidays — is
//! the same at every merchant. This is the part of the marketplace that merchants can only learn well together.

use super::draws::{Stream, log_normal, normal};

/// Words and behaviour of a category before the world's own variation.
struct Kind {
    name: &'static str,
    nouns: [&'static str; 6],
    makes: [&'static str; 5],
    uses: [&'static str; 3],
    /// Monday to Sunday.
    week: [f64; 7],
    /// Relative height of the yearly wave and the month (0 = January) of its peak.
    year: (f64, f64),
    /// Middle of the list prices.
    price: f64,
    /// Share of lines sent back.
    returned: f64,
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "Tea and coffee",
        nouns: ["Assam tea", "Espresso beans", "Green tea", "Filter coffee", "Herbal infusion", "Cold brew"],
        makes: ["single-estate", "hand-roasted", "organic", "smoky", "mellow"],
        uses: ["for slow mornings", "with notes of caramel", "resealable pouch"],
        week: [1.15, 1.05, 1.0, 1.0, 0.95, 0.85, 1.0],
        year: (0.25, 11.5),
        price: 11.0,
        returned: 0.01,
    },
    Kind {
        name: "Kitchenware",
        nouns: ["Saucepan", "Chef's knife", "Mixing bowl", "Baking tray", "Whisk", "Casserole"],
        makes: ["enamelled", "stainless-steel", "cast-iron", "beech-handled", "ceramic"],
        uses: ["safe in the oven", "for everyday cooking", "dishwasher proof"],
        week: [0.9, 0.85, 0.9, 0.95, 1.0, 1.25, 1.2],
        year: (0.35, 11.0),
        price: 34.0,
        returned: 0.05,
    },
    Kind {
        name: "Garden",
        nouns: ["Seed mix", "Hand trowel", "Watering can", "Plant pot", "Pruning shears", "Compost bag"],
        makes: ["galvanised", "frost-proof", "heirloom", "sturdy", "terracotta"],
        uses: ["for balconies and beds", "for early sowing", "with a wooden grip"],
        week: [0.8, 0.75, 0.8, 0.9, 1.1, 1.5, 1.4],
        year: (0.7, 4.5),
        price: 17.0,
        returned: 0.03,
    },
    Kind {
        name: "Toys",
        nouns: ["Wooden train", "Puzzle", "Building blocks", "Kite", "Board game", "Plush bear"],
        makes: ["hand-painted", "colourful", "classic", "award-winning", "soft"],
        uses: ["from three years", "for rainy days", "for the whole family"],
        week: [0.85, 0.85, 0.95, 0.9, 1.0, 1.3, 1.3],
        year: (0.6, 11.2),
        price: 24.0,
        returned: 0.06,
    },
    Kind {
        name: "Stationery",
        nouns: ["Notebook", "Fountain pen", "Desk planner", "Ink bottle", "Pencil set", "Letter paper"],
        makes: ["linen-bound", "dotted", "recycled", "brass", "A5"],
        uses: ["lies flat when open", "for daily notes", "in a gift box"],
        week: [1.3, 1.2, 1.15, 1.05, 0.95, 0.65, 0.8],
        year: (0.35, 8.5),
        price: 13.0,
        returned: 0.03,
    },
    Kind {
        name: "Skin care",
        nouns: ["Hand cream", "Face oil", "Soap bar", "Lip balm", "Body scrub", "Sun lotion"],
        makes: ["unscented", "lavender", "oat", "sea-salt", "shea"],
        uses: ["for dry skin", "without palm oil", "dermatologically tested"],
        week: [1.05, 1.0, 1.0, 1.0, 0.95, 0.95, 1.05],
        year: (0.2, 6.5),
        price: 15.0,
        returned: 0.04,
    },
    Kind {
        name: "Pets",
        nouns: ["Dog treats", "Cat litter", "Chew rope", "Scratching post", "Bird seed", "Brush"],
        makes: ["grain-free", "natural", "large", "hard-wearing", "salmon"],
        uses: ["for small breeds", "long-lasting", "vet approved"],
        week: [1.1, 1.0, 1.0, 1.0, 1.0, 0.95, 0.95],
        year: (0.1, 0.5),
        price: 19.0,
        returned: 0.02,
    },
    Kind {
        name: "Clothing",
        nouns: ["Wool jumper", "Rain jacket", "Linen shirt", "Socks", "Scarf", "Canvas cap"],
        makes: ["merino", "waterproof", "striped", "hand-knitted", "relaxed-fit"],
        uses: ["for cool evenings", "machine washable", "made in small batches"],
        week: [0.95, 0.9, 0.9, 0.95, 1.05, 1.15, 1.1],
        year: (0.3, 10.0),
        price: 48.0,
        returned: 0.16,
    },
];

/// A category of this world.
#[derive(Clone, Debug)]
pub(super) struct Category {
    /// Name.
    pub name: &'static str,
    /// Nouns of titles.
    pub nouns: &'static [&'static str],
    /// Adjectives of titles.
    pub makes: &'static [&'static str],
    /// Phrases of descriptions.
    pub uses: &'static [&'static str],
    /// Middle of the list prices.
    pub price: f64,
    /// Share of lines sent back.
    pub returned: f64,
    week: [f64; 7],
    year: (f64, f64),
    /// Discount from which customers take notice.
    notice: f64,
    /// Logarithm of the lift far beyond it.
    lift: f64,
    /// Logarithm of demand in the five days after a promotion.
    dip: f64,
    /// Change of log demand with log price.
    elasticity: f64,
    /// Logarithm of the lift on a coupon day.
    coupon: f64,
    /// Logarithm of the lift on the eve of a holiday.
    eve: f64,
    /// Logarithm of demand on the holiday itself.
    holiday: f64,
    /// Logarithm of the lift when wages come.
    payday: f64,
}

/// What demand for a product answers to on one day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// 0 for Monday.
    pub weekday: usize,
    /// Share of the year that has passed.
    pub year_phase: f64,
    /// Discount of the running promotion, 0 for none.
    pub discount: f64,
    /// Days since a promotion ended, 0 for none within five days.
    pub after_promotion: usize,
    /// ln(price without promotion / list price).
    pub log_price: f64,
    /// A coupon is out.
    pub coupon: bool,
    /// Today is a holiday.
    pub holiday: bool,
    /// Days until the next holiday, 0 for none within four days.
    pub before_holiday: usize,
    /// Wages have come.
    pub payday: bool,
}

/// The categories of one world: the kinds above, each varied once for all merchants.
pub(super) fn categories(stream: &mut Stream) -> Vec<Category> {
    KINDS
        .iter()
        .map(|kind| Category {
            name: kind.name,
            nouns: &kind.nouns,
            makes: &kind.makes,
            uses: &kind.uses,
            price: kind.price,
            returned: kind.returned,
            week: kind.week.map(|day| day * log_normal(stream, 0.12)),
            year: (kind.year.0, kind.year.1 + 0.5 * normal(stream)),
            notice: 0.2 + 0.03 * normal(stream).clamp(-1.5, 1.5),
            lift: 1.25 * log_normal(stream, 0.2),
            dip: -0.6 * log_normal(stream, 0.3),
            elasticity: -1.6 * log_normal(stream, 0.3),
            coupon: 0.65 * log_normal(stream, 0.25),
            eve: 0.95 * log_normal(stream, 0.25),
            holiday: -0.9 * log_normal(stream, 0.25),
            payday: 0.25 * log_normal(stream, 0.3),
        })
        .collect()
}

impl Category {
    /// Logarithm of demand relative to an ordinary day.
    ///
    /// A promotion works once its discount is noticed: the lift is a logistic curve in the discount, so that a
    /// small discount does next to nothing and a deep one little more than a good one. Demand is borrowed: five
    /// days after it are weak. The last four days before a holiday grow busier, the holiday itself is quiet.
    pub fn log_effect(&self, day: &Circumstances) -> f64 {
        let mut log = self.week[day.weekday].ln();
        let (height, peak) = self.year;
        log += (height * (std::f64::consts::TAU * (day.year_phase - peak / 12.0)).cos()).ln_1p();
        if day.discount > 0.0 {
            log += self.lift / (1.0 + (-(day.discount - self.notice) / 0.035).exp());
        }
        if day.after_promotion > 0 {
            log += self.dip * (1.0 - (day.after_promotion as f64 - 1.0) / 5.0);
        }
        log += self.elasticity * day.log_price;
        if day.coupon {
            log += self.coupon;
        }
        if day.holiday {
            log += self.holiday;
        } else if day.before_holiday > 0 {
            log += self.eve * (5.0 - day.before_holiday as f64) / 4.0;
        }
        if day.payday {
            log += self.payday;
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const ORDINARY: Circumstances = Circumstances {
        weekday: 2,
        year_phase: 0.4,
        discount: 0.0,
        after_promotion: 0,
        log_price: 0.0,
        coupon: false,
        holiday: false,
        before_holiday: 0,
        payday: false,
    };

    #[test]
    fn categories_answer_to_promotions_prices_and_holidays_as_described() {
        let mut stream = Stream::seed_from_u64(1);
        for category in categories(&mut stream) {
            let base = category.log_effect(&ORDINARY);
            let effect = |change: fn(&mut Circumstances)| {
                let mut day = ORDINARY;
                change(&mut day);
                category.log_effect(&day) - base
            };
            assert!(effect(|day| day.discount = 0.05) < 0.1, "{}", category.name);
            assert!(effect(|day| day.discount = 0.35) > 0.6, "{}", category.name);
            assert!(effect(|day| day.after_promotion = 1) < -0.2, "{}", category.name);
            assert!(effect(|day| day.log_price = 0.1) < -0.05, "{}", category.name);
            assert!(effect(|day| day.holiday = true) < -0.4, "{}", category.name);
            assert!(effect(|day| day.before_holiday = 1) > effect(|day| day.before_holiday = 4), "{}", category.name);
        }
    }
}
