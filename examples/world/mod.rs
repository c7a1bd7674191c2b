//! A generated marketplace: merchants, products, people and eighteen months of orders.
//!
//! Everything follows from a seed. What merchants have in common — how a category answers to promotions, prices,
//! coupons, holidays and pay days — is drawn once for the world, so that merchants who learn together can learn
//! it and one alone, with a handful of promotions a product, learns it badly.
//!
//! Invariants: no code is shared with the generator of warm-start series, or the model would be tested on what it
//! was warmed with; what happens after the history is written apart and never imported. Left out on purpose:
//! views and carts, several currencies.

mod category;
mod customers;
mod draws;
mod merchant;
mod product;
mod season;
mod write;

use std::{collections::BTreeMap, path::PathBuf};

use forecastle_client::data::order::{Period, plus_days};
use jiff::civil::{Date, date};
use rand::SeedableRng;

pub use customers::{CHANNELS, Line};
pub use merchant::{Merchant, ProductTruth};
pub use product::{PlannedDay, Product};
pub use write::MerchantFiles;

use customers::People;
use draws::Stream;
use merchant::Surroundings;

/// Most merchants of a world.
const MERCHANTS_MAX: usize = 20_000;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorldConfig {
    /// Merchants, 1 to 20,000.
    pub merchants: usize,
    /// Products of each merchant, 1 to 5,000.
    pub products: usize,
    /// Seed of everything.
    pub seed: u64,
    /// First day of history.
    pub start: Date,
    /// Days of history, 28 to 3,660.
    pub history_days: usize,
    /// Days after the history on which forecasts are judged, 1 to 366.
    pub held_back_days: usize,
    /// Size of all demand; at 1 a product sells about one unit a day, most less.
    pub volume: f64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            merchants: 12,
            products: 84,
            seed: 1,
            start: date(2024, 1, 1),
            history_days: 546,
            held_back_days: 28,
            volume: 1.0,
        }
    }
}

/// Why a world could not be generated or written.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A number lies outside its range.
    #[error("{field} is {value}, but must lie within {range}")]
    Range {
        /// The field of [`WorldConfig`].
        field: &'static str,
        /// What was given.
        value: String,
        /// What is possible.
        range: &'static str,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}; check the folder and the free space", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Who buys in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeopleSummary {
    /// People with at least one order.
    pub people: usize,
    /// Those of them who are customers of several merchants.
    pub at_several_merchants: usize,
    /// Relations between a person and a merchant.
    pub customers: usize,
}

/// A marketplace.
#[derive(Clone, Debug)]
pub struct World {
    config: WorldConfig,
    merchants: Vec<Merchant>,
    holidays: BTreeMap<Date, &'static str>,
    people: PeopleSummary,
}

impl World {
    /// Generates a marketplace; the same configuration gives the same marketplace on every machine.
    ///
    /// # Errors
    /// [`WorldError::Range`] names the first field outside its range.
    pub fn generate(config: &WorldConfig) -> Result<Self, WorldError> {
        let mut merchants = Vec::with_capacity(config.merchants.min(MERCHANTS_MAX));
        let (holidays, people) = Self::visit(config, |merchant, _| merchants.push(merchant))?;
        let people = PeopleSummary {
            people: people.merchants.len(),
            at_several_merchants: people.merchants.iter().filter(|merchants| **merchants > 1).count(),
            customers: merchants.iter().map(|merchant| merchant.customers).sum(),
        };
        Ok(Self { config: *config, merchants, holidays, people })
    }

    /// Hands one merchant after the other to `take`, with the world's holidays, and keeps none: for more merchants than
    /// one would hold the orders of.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn each(
        config: &WorldConfig,
        take: impl FnMut(Merchant, &BTreeMap<Date, &'static str>),
    ) -> Result<(), WorldError> {
        Self::visit(config, take).map(|_| ())
    }

    fn visit(
        config: &WorldConfig,
        mut take: impl FnMut(Merchant, &BTreeMap<Date, &'static str>),
    ) -> Result<(BTreeMap<Date, &'static str>, People), WorldError> {
        let within = |field, value: usize, low: usize, high: usize, range| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(WorldError::Range { field, value: value.to_string(), range })
            }
        };
        within("merchants", config.merchants, 1, MERCHANTS_MAX, "1 to 20000")?;
        within("products", config.products, 1, 5_000, "1 to 5000")?;
        within("history_days", config.history_days, 28, 3_660, "28 to 3660")?;
        within("held_back_days", config.held_back_days, 1, 366, "1 to 366")?;
        if !(config.volume > 0.0 && config.volume <= 100.0) {
            return Err(WorldError::Range { field: "volume", value: config.volume.to_string(), range: "0 to 100" });
        }
        // Stream 0 is the world's own; merchant number m lives on stream m + 1, so that one more merchant
        // changes nothing about the others' shops.
        let mut stream = Stream::seed_from_u64(config.seed);
        let categories = category::categories(&mut stream);
        let days = config.history_days + config.held_back_days;
        let holidays = season::holidays(config.start, plus_days(config.start, days as i64 + 30));
        let world = Surroundings { config, categories: &categories, holidays: &holidays };
        let mut people = People::default();
        for number in 0..config.merchants {
            let mut stream = Stream::seed_from_u64(config.seed);
            stream.set_stream(number as u64 + 1);
            take(merchant::live(&mut stream, number, &world, &mut people), &holidays);
        }
        Ok((holidays, people))
    }

    /// What was asked for.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// The merchants.
    pub fn merchants(&self) -> &[Merchant] {
        &self.merchants
    }

    /// First and last day of history. Public: it follows from the configuration alone.
    pub fn period(&self) -> Period {
        let last = plus_days(self.config.start, self.config.history_days as i64 - 1);
        Period::new(self.config.start, last).expect("a history has at least 28 days")
    }

    /// Number of products over all merchants. Public: it follows from the configuration alone.
    pub fn series(&self) -> usize {
        self.config.merchants * self.config.products
    }

    /// Who buys.
    pub fn people(&self) -> PeopleSummary {
        self.people
    }

    /// Number of order lines in the merchants' exports.
    pub fn lines(&self) -> usize {
        self.merchants.iter().map(|merchant| merchant.lines.len()).sum()
    }

    /// Holidays, by day.
    pub fn holidays(&self) -> &BTreeMap<Date, &'static str> {
        &self.holidays
    }
}

#[cfg(test)]
mod tests;
