//! What private training uses of one customer's order lines: for the customer who asks.
//!
//! Cleaning and the contribution bounds look at one customer's lines at a time (see [`super::clean`], [`super::bound`]), so
//! what becomes of them is found out from them alone.

use std::fmt;

use forecastle_crypto::dp::{plan::PrivacyPlan, unit::PrivacyUnit};
use serde::Serialize;

use super::{
    bound::bound_contributions,
    clean::clean,
    order::{Catalogue, OrderLine},
    prepare::{PrepareError, SeriesChoice, period_of},
    pseudonym::ContributionKey,
    returns,
};

/// What a step of private training uses of one order line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "use")]
pub enum TrainingUse {
    /// Its day is not in the plan's training period.
    OutsideThePeriod,
    /// It is no demand: it was cancelled, came back, or cost nothing.
    NoDemand,
    /// The contribution bounds leave it out.
    LeftOutByBounds,
    /// So many of its units count.
    Used {
        /// Units.
        units: f64,
    },
}

impl fmt::Display for TrainingUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideThePeriod => f.write_str("not used: outside the training period"),
            Self::NoDemand => f.write_str("not used: cancelled, returned or free"),
            Self::LeftOutByBounds => f.write_str("not used: left out by the contribution bounds"),
            Self::Used { units } => write!(f, "used: quantity {units}"),
        }
    }
}

/// What private training under `plan` uses of each of one customer's lines, in their order. For a model with a head for
/// returns, which `choice` says, lines that came back are used too.
///
/// # Errors
/// [`PrepareError::Period`] where the plan's period is none.
pub fn training_use(
    lines: &[OrderLine],
    choice: &SeriesChoice,
    plan: &PrivacyPlan,
    key: &ContributionKey,
    catalogue: &Catalogue,
) -> Result<Vec<TrainingUse>, PrepareError> {
    let period = period_of(plan)?;
    let mut demand = match choice.inputs.returns {
        false => clean(lines, &choice.cleaning).0,
        true => returns::sales(lines, &choice.cleaning).into_iter().map(|sale| sale.line).collect(),
    };
    let mut kept = match plan.privacy.unit {
        PrivacyUnit::Customer => bound_contributions(&demand, &plan.bounds, key, period, choice.by, catalogue).0,
        PrivacyUnit::Series | PrivacyUnit::Merchant => demand.clone(),
    };
    let mut uses = Vec::with_capacity(lines.len());
    for line in lines {
        let is_demand = take(&mut demand, line);
        let used = take(&mut kept, line);
        uses.push(match (period.contains(line.at.date()), is_demand, used) {
            (false, ..) => TrainingUse::OutsideThePeriod,
            (true, None, _) => TrainingUse::NoDemand,
            (true, Some(_), None) => TrainingUse::LeftOutByBounds,
            (true, Some(_), Some(units)) => TrainingUse::Used { units },
        });
    }
    Ok(uses)
}

/// Takes what is left of a line out of others, and says how many units that is. Cleaning and bounds change the quantity
/// only; of lines that differ in nothing else, the one with the same quantity is meant, if it is there.
fn take(others: &mut Vec<OrderLine>, line: &OrderLine) -> Option<f64> {
    let is_same = |other: &OrderLine| other == &OrderLine { quantity: other.quantity, ..line.clone() };
    let same = others.iter().position(|other| is_same(other) && other.quantity == line.quantity);
    let at = same.or_else(|| others.iter().position(is_same))?;
    Some(others.swap_remove(at).quantity)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::data::{
        order::{CustomerPseudonym, LineStatus},
        pseudonym::DataSecret,
        signals::Inputs,
    };

    fn plan(unit: PrivacyUnit) -> PrivacyPlan {
        let mut plan = PrivacyPlan::parse(include_bytes!("../../../server/plans/four-merchants.toml")).unwrap();
        plan.privacy.unit = unit;
        plan.rounds.period_start = "2024-01-01".parse().unwrap();
        plan.rounds.period_end = "2024-02-29".parse().unwrap();
        plan.bounds.order_lines = 2;
        plan.bounds.series = 1;
        plan.bounds.units = 3.0;
        plan
    }

    fn line(order: &str, product: &str, day: i8, quantity: f64, status: LineStatus) -> OrderLine {
        OrderLine {
            order: order.into(),
            line: None,
            customer: Some(CustomerPseudonym([1; 16])),
            product: product.into(),
            at: date(2024, 1, day).at(0, 0, 0, 0),
            quantity,
            unit_price: Some(2.0),
            discount: 0.0,
            status,
            channel: None,
        }
    }

    #[test]
    fn each_line_says_what_becomes_of_it() {
        let key = DataSecret::from_bytes(&[5; 32]).unwrap().contribution_key();
        let choice = SeriesChoice::default();
        let mut outside = line("o9", "mug", 1, 1.0, LineStatus::Sold);
        outside.at = date(1999, 1, 1).at(0, 0, 0, 0);
        let lines = [
            line("o1", "mug", 2, 2.0, LineStatus::Sold),
            line("o2", "mug", 3, 2.0, LineStatus::Sold),
            line("o3", "mug", 4, 2.0, LineStatus::Sold),
            line("o4", "mug", 5, 1.0, LineStatus::Cancelled),
            outside,
        ];
        let catalogue = Catalogue::default();
        let uses = training_use(&lines, &choice, &plan(PrivacyUnit::Customer), &key, &catalogue).unwrap();
        assert_eq!(uses[3..], [TrainingUse::NoDemand, TrainingUse::OutsideThePeriod]);
        // Two lines of three and three units are kept, whichever they are.
        let mut kept: Vec<f64> = uses
            .iter()
            .filter_map(|one| match one {
                TrainingUse::Used { units } => Some(*units),
                _ => None,
            })
            .collect();
        kept.sort_by(f64::total_cmp);
        assert_eq!(kept, [1.0, 2.0]);
        assert_eq!(uses.iter().filter(|one| **one == TrainingUse::LeftOutByBounds).count(), 1);
        // A line that came back is of use to a model with a head for returns, and shares the bounds.
        let mut back = lines.clone();
        back[0].status = LineStatus::Returned;
        let uses = |returns| {
            let choice = SeriesChoice::default().for_inputs(Inputs { returns, ..Inputs::default() });
            training_use(&back, &choice, &plan(PrivacyUnit::Customer), &key, &catalogue).unwrap()
        };
        assert_eq!(uses(false)[0], TrainingUse::NoDemand);
        assert!(!uses(true)[..3].contains(&TrainingUse::NoDemand));
        let is_used = |one: &&TrainingUse| matches!(one, TrainingUse::Used { .. });
        assert_eq!([uses(false), uses(true)].map(|uses| uses.iter().filter(is_used).count()), [2, 2]);
        let uses = training_use(&lines, &choice, &plan(PrivacyUnit::Series), &key, &catalogue).unwrap();
        assert!(uses[..3].iter().all(|one| *one == TrainingUse::Used { units: 2.0 }));
    }
}
