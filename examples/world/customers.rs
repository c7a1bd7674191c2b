//! Who buys: a shared pool of people, most of whom buy once or twice at one merchant.
//!
//! A day's demand is cut into order lines, and each line finds a customer: someone who comes back for the same
//! product, someone with an open basket, one of the few who buy all the time, or someone new to the merchant,
//! who may be a customer elsewhere. A person has another customer number at every merchant.

use std::collections::HashSet;

use super::draws::{Stream, between, chance, one_of};

/// One order line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Order number within the merchant.
    pub order: u32,
    /// Customer number within the merchant.
    pub customer: u32,
    /// Position of the product in [`Merchant::products`](super::Merchant::products).
    pub product: u16,
    /// Day, counted from the first day of history.
    pub day: u16,
    /// Minute of the day.
    pub minute: u16,
    /// Units.
    pub quantity: u8,
    /// Sent back later.
    pub returned: bool,
    /// Position in [`CHANNELS`].
    pub channel: u8,
}

/// Sales channels.
pub const CHANNELS: [&str; 3] = ["web", "app", "marketplace"];

/// Share of lines bought by someone who comes back for the same product.
const COMES_BACK: f64 = 0.30;
/// Share of lines added to a basket of the same day.
const ADDED: f64 = 0.14;
/// Share of lines of the few who buy all the time.
const OFTEN: f64 = 0.03;
/// Lines after which an ordinary customer has had enough.
const LINES_MAX: u8 = 7;
/// Buyers of a product who may come back.
const REMEMBERED: usize = 48;
/// Share of new customers who already are customers of another merchant.
const ALSO_ELSEWHERE: f64 = 0.35;

/// People of the whole marketplace.
#[derive(Default)]
pub(super) struct People {
    /// At how many merchants each person is a customer.
    pub merchants: Vec<u8>,
}

/// A person's relation to one merchant.
struct Customer {
    lines: u8,
    products: [u16; 3],
    distinct: u8,
}

/// An order that is still open today.
#[derive(Clone, Copy)]
struct Basket {
    order: u32,
    customer: u32,
    minute: u16,
    channel: u8,
    first: u16,
}

/// The customers of one merchant.
pub(super) struct Customers<'a> {
    people: &'a mut People,
    known: HashSet<u32>,
    customers: Vec<Customer>,
    /// Customers who buy all the time.
    frequent: Vec<u32>,
    /// Recent buyers of each product.
    buyers: Vec<Vec<u32>>,
    baskets: Vec<Basket>,
    orders: u32,
}

impl<'a> Customers<'a> {
    /// A merchant without customers.
    pub fn new(people: &'a mut People, products: usize) -> Self {
        Self {
            people,
            known: HashSet::new(),
            customers: Vec::new(),
            frequent: Vec::new(),
            buyers: vec![Vec::new(); products],
            baskets: Vec::new(),
            orders: 0,
        }
    }

    /// Number of customers so far.
    pub fn count(&self) -> usize {
        self.customers.len()
    }

    /// Closes all baskets.
    pub fn next_day(&mut self) {
        self.baskets.clear();
    }

    /// Lines for `units` of a product on a day, appended to `lines`.
    pub fn buy(
        &mut self,
        stream: &mut Stream,
        product: u16,
        day: u16,
        units: u32,
        returned: f64,
        lines: &mut Vec<Line>,
    ) {
        let mut left = units;
        while left > 0 {
            let wanted = match between(stream, 0, 99) {
                0..=67 => 1,
                68..=89 => 2,
                90..=98 => 3,
                _ => 6,
            };
            let quantity = left.min(wanted);
            left -= quantity;
            let basket = self.basket(stream, product);
            self.remember(basket.customer, product);
            lines.push(Line {
                order: basket.order,
                customer: basket.customer,
                product,
                day,
                minute: basket.minute,
                quantity: quantity as u8,
                returned: chance(stream, returned),
                channel: basket.channel,
            });
        }
    }

    fn basket(&mut self, stream: &mut Stream, product: u16) -> Basket {
        let who = between(stream, 0, 9_999) as f64 / 10_000.0;
        if who < COMES_BACK {
            let buyers = &self.buyers[usize::from(product)];
            if !buyers.is_empty() {
                let customer = *one_of(stream, buyers);
                if self.customers[customer as usize].lines < LINES_MAX {
                    return self.open(stream, customer, product);
                }
            }
        } else if who < COMES_BACK + ADDED {
            let open = (!self.baskets.is_empty()).then(|| *one_of(stream, &self.baskets));
            if let Some(basket) = open.filter(|basket| basket.first != product) {
                let customer = &self.customers[basket.customer as usize];
                let room = if chance(stream, 0.3) { 3 } else { 2 };
                if customer.distinct < room && !customer.products[..usize::from(customer.distinct)].contains(&product) {
                    return basket;
                }
            }
        } else if who < COMES_BACK + ADDED + OFTEN && self.frequent.len() > 20 {
            let customer = *one_of(stream, &self.frequent);
            return self.open(stream, customer, product);
        }
        let customer = self.newcomer(stream);
        self.open(stream, customer, product)
    }

    fn open(&mut self, stream: &mut Stream, customer: u32, product: u16) -> Basket {
        self.orders += 1;
        // Two draws added: most orders come around midday and early evening.
        let minute = (between(stream, 0, 719) + between(stream, 180, 719)) as u16;
        let basket =
            Basket { order: self.orders, customer, minute, channel: between(stream, 0, 2) as u8, first: product };
        self.baskets.push(basket);
        basket
    }

    fn newcomer(&mut self, stream: &mut Stream) -> u32 {
        let mut person = None;
        if !self.people.merchants.is_empty() && chance(stream, ALSO_ELSEWHERE) {
            let candidate = between(stream, 0, self.people.merchants.len() - 1) as u32;
            person = (!self.known.contains(&candidate)).then_some(candidate);
        }
        let person = person.unwrap_or_else(|| {
            self.people.merchants.push(0);
            self.people.merchants.len() as u32 - 1
        });
        self.people.merchants[person as usize] += 1;
        self.known.insert(person);
        let customer = self.customers.len() as u32;
        self.customers.push(Customer { lines: 0, products: [0; 3], distinct: 0 });
        if chance(stream, 0.004) {
            self.frequent.push(customer);
        }
        customer
    }

    fn remember(&mut self, customer: u32, product: u16) {
        let known = &mut self.customers[customer as usize];
        known.lines = known.lines.saturating_add(1);
        let distinct = usize::from(known.distinct);
        if distinct < 3 && !known.products[..distinct].contains(&product) {
            known.products[distinct] = product;
            known.distinct += 1;
        }
        let buyers = &mut self.buyers[usize::from(product)];
        if buyers.len() == REMEMBERED {
            buyers.remove(0);
        }
        buyers.push(customer);
    }
}
