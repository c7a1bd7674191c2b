//! What else a merchant knows of its products: what customers look at, write and send back, what is in stock, which
//! events it plans, and vectors of its own (pictures, sounds).
//!
//! Everything is joined with series on product and day, never on position, and only where a model's settings ask for it
//! ([`Inputs`]): without them series are what they were. What is not known is missing, never 0.
//!
//! Private training reads less than forecasts at the merchant do; which, and why, is in [`private`].

mod attach;
mod choice;
mod known;
mod past;
pub mod private;
mod records;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub(super) use attach::add_review_texts;
pub use attach::{Joined, attach};
pub use choice::{Chosen, Inputs, KnownFeature, Named, PastChannel};
use jiff::civil::{Date, DateTime};
pub use known::{EXTRA_KNOWN, PROMOTION_BUCKETS};
pub use past::PAST_CHANNELS;
use records::Record;
pub(super) use records::records;

use super::order::CustomerPseudonym;

/// What a customer does with a product without buying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Looks at it.
    View,
    /// Puts it into the cart.
    Cart,
    /// Puts it on a wish-list.
    Wish,
    /// Finds it by searching.
    Search,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::View, Self::Cart, Self::Wish, Self::Search];

    /// Name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Cart => "cart",
            Self::Wish => "wish",
            Self::Search => "search",
        }
    }
}

/// One event, or so many of them at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Product identity, as in order lines.
    pub product: Arc<str>,
    /// What was done.
    pub kind: EventKind,
    /// By whom; `None` where nobody was logged in, or where several are counted together.
    pub customer: Option<CustomerPseudonym>,
    /// When; midnight where only the day is known.
    pub at: DateTime,
    /// How often, > 0.
    pub count: f64,
}

/// What a customer wrote about a product, or about an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// The shop's number of it; empty where there is none.
    pub id: String,
    /// The product; empty where only the order is named.
    pub product: String,
    /// The order; empty where only the product is named.
    pub order: String,
    /// By whom.
    pub customer: Option<CustomerPseudonym>,
    /// When it was written.
    pub at: DateTime,
    /// Score, 0 (worst) to 1.
    pub score: Option<f64>,
    /// What was written.
    pub text: String,
}

/// What was in stock of a product on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StockDay {
    /// Units on hand; below 0 where more was sold than was there.
    pub on_hand: Option<f64>,
    /// Whether it could be bought.
    pub in_stock: Option<bool>,
}

impl StockDay {
    /// Whether it is known that none could be bought.
    pub fn is_out(&self) -> bool {
        match self.in_stock {
            Some(flag) => !flag,
            None => self.on_hand.is_some_and(|units| units <= 0.0),
        }
    }
}

/// Stock by product and day.
pub type Stock = BTreeMap<String, BTreeMap<Date, StockDay>>;

/// The tables beside orders and the catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// What customers did, in no particular order.
    pub events: Vec<Event>,
    /// What they wrote.
    pub reviews: Vec<Review>,
    /// What was in stock.
    pub stock: Stock,
    /// Days on which the merchant holds an event of its own (a sale, a fair), with their names.
    pub occasions: BTreeMap<Date, String>,
    /// Vectors that the merchant brings, by product; any length.
    pub vectors: BTreeMap<String, Vec<f32>>,
}
