//! What private training may read of signals, and the argument for it.
//!
//! # Unit: customer
//! Events, returns and reviews are a customer's own data, as its order lines are, and are bounded *together with them*. Of
//! each customer the order lines are bounded first, exactly as they are without signals; they touch at most L series.
//! What else the customer did is kept in those series, and in so many further ones that they are L together, taken in the
//! order of a keyed hash over (customer, series). All of it outside these series is left out.
//!
//! *Sensitivity.* The kept records are a function of the key, the catalogue and that one customer's lines and records. So
//! two data sets that differ in one customer keep the same of everybody else. What a training window holds of a series is
//! computed from what the merchant authored and from kept lines and records *of that series*: counts by step, review count
//! and mean so far, the window's own means. Removing the customer therefore changes at most the L series that its kept
//! lines and records lie in, each of which moves by one clipped vector: the pair that the accountant is charged
//! (`crypto/src/dp`) stays as it is, however many events there are. Their number needs no bound for that; the
//! promise's K and Q go on to bound order lines.
//!
//! What cannot be argued is left out:
//! * Records without a customer. An order line without one counts as a customer of its own, which is a convention about
//!   people who bought once; a visitor who was not logged in leaves hundreds of views in hundreds of series, and a row
//!   that counts many visitors has them in all of its series at once.
//! * Reviews that name an order instead of a product: to whom they belong depends on whose lines bear that number.
//! * Stock. Units on hand are what was bought before, by customers whose lines the bounds may have left out of the series,
//!   so neither the quantity nor the days without stock that follow from it are read. A model that asks for `stock` is
//!   refused. Days that the *calendar* calls out of stock are taken as the merchant's own statement, as before.
//! * From when to when events were logged at all: the first and the last event of a table are some customer's. A channel of
//!   which a series has no record is missing in it; otherwise a step without one is 0.
//!
//! # What came back of what was sold
//! A model with a head for returns is told, step by step of a series, units sold and units of them that came back
//! ([`crate::data::returns`]). Both are sums over that customer's *bounded lines*: for such a model all that was sold is put
//! before the bounds, lines that came back among them, and one cut (K lines, L series, Q units) decides what of each line
//! counts as demand, as sold and as returned. What came back of a line depends on the same customer's lines alone. So a
//! customer is in at most L series by its lines, returned ones included; records are kept in these series and fill up to L
//! as above. The loss of the head is one more term of the window's loss: the series' gradient is clipped once, whatever
//! terms it has, and moves by one vector of norm at most C. Whether returns are recorded at all must not be asked of all
//! customers: a series of which no kept line came back says nothing of returns, again a function of that series alone.
//!
//! # Units: series and merchant
//! A series with all that is recorded of its products is one unit, and changes nothing in any other. Reviews of orders are
//! left out there too (an order has several series). A merchant's update is clipped whole, whatever it was computed from.
//!
//! Known channels (kinds of promotions, the merchant's events) and vectors are authored. Texts of reviews are customers'
//! words and reach no private training under any unit.

use std::collections::{BTreeMap, BTreeSet};

use forecastle_crypto::dp::{plan::ContributionBounds, unit::PrivacyUnit};

use super::{Inputs, KnownFeature, Named, PastChannel, Record};
use crate::data::{
    order::{Catalogue, CustomerPseudonym, OrderLine},
    pseudonym::ContributionKey,
    series::SeriesKey,
};

/// A channel for which the sensitivity argument does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model reads `{channel}`, which private training under the unit `customer` cannot bound: stock on hand is what \
     customers bought before, in any number of series; the federation needs a model without it, or the unit `series`"
)]
pub struct NotBounded {
    /// Name of the channel.
    pub channel: &'static str,
}

/// Refuses inputs that cannot be bounded under a unit.
///
/// # Errors
/// [`NotBounded`] names the channel.
pub fn check(inputs: Inputs, unit: PrivacyUnit) -> Result<(), NotBounded> {
    match unit {
        PrivacyUnit::Customer if inputs.past_channels.has(PastChannel::Stock) => Err(NotBounded { channel: "stock" }),
        PrivacyUnit::Customer | PrivacyUnit::Series | PrivacyUnit::Merchant => Ok(()),
    }
}

/// Everything that a unit can bound: what series carry before it is known what the model reads.
pub fn all(unit: PrivacyUnit) -> Inputs {
    let bounded = |channel: &PastChannel| unit != PrivacyUnit::Customer || *channel != PastChannel::Stock;
    Inputs {
        past_channels: PastChannel::ALL.iter().copied().filter(bounded).collect(),
        known_channels: KnownFeature::ALL.iter().copied().collect(),
        vectors: true,
        returns: true,
    }
}

/// Whether days without stock, as the stock table has them, may be taken out of the target.
pub fn reads_stock(unit: PrivacyUnit) -> bool {
    unit != PrivacyUnit::Customer
}

/// Of each customer, the records in at most L series, those of its kept order lines among them.
///
/// `kept`: bounded order lines, also those that count for returns alone. Records without a customer are left out.
pub(in crate::data) fn bound<'a>(
    records: Vec<Record<'a>>,
    kept: &[OrderLine],
    bounds: &ContributionBounds,
    key: &ContributionKey,
    series: SeriesKey,
    catalogue: &Catalogue,
) -> Vec<Record<'a>> {
    let mut touched: BTreeMap<CustomerPseudonym, BTreeSet<&str>> = BTreeMap::new();
    for line in kept {
        if let Some(customer) = line.customer {
            touched.entry(customer).or_default().insert(series.series_of(&line.product, catalogue));
        }
    }
    let mut further: BTreeMap<CustomerPseudonym, BTreeSet<&str>> = BTreeMap::new();
    for record in &records {
        let Some(customer) = record.customer else { continue };
        let id = series.series_of(record.product, catalogue);
        if !touched.get(&customer).is_some_and(|ids| ids.contains(id)) {
            further.entry(customer).or_default().insert(id);
        }
    }
    for (customer, ids) in further {
        let touched = touched.entry(customer).or_default();
        let mut ranked: Vec<_> = ids.into_iter().map(|id| (key.rank(&identity(customer, id)), id)).collect();
        ranked.sort_unstable();
        let room = (bounds.series as usize).saturating_sub(touched.len());
        touched.extend(ranked.into_iter().take(room).map(|(_, id)| id));
    }
    let is_kept = |record: &Record<'_>| {
        let ids = record.customer.and_then(|customer| touched.get(&customer));
        ids.is_some_and(|ids| ids.contains(series.series_of(record.product, catalogue)))
    };
    records.into_iter().filter(is_kept).collect()
}

/// Bytes that no order line's identity has: those begin with the length of a pseudonym.
fn identity(customer: CustomerPseudonym, series: &str) -> Vec<u8> {
    let mut bytes = b"series of records\0".to_vec();
    bytes.extend(customer.0);
    bytes.extend(series.as_bytes());
    bytes
}
