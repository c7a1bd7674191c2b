//! Whom a guarantee protects, and which two data sets count as neighbours.
//!
//! A statement "(ε, δ)-private" means nothing until both are named, so no other type of this crate defaults
//! them. What one unit can change in a release is not decided here but in [`super::event`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The unit whose whole contribution in a period is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivacyUnit {
    /// All retained order lines of one customer of one merchant in one period.
    Customer,
    /// One product's series.
    Series,
    /// Everything one merchant contributes.
    Merchant,
}

impl PrivacyUnit {
    /// Every unit, in the order in which they are offered to a user.
    pub const ALL: [Self; 3] = [Self::Customer, Self::Series, Self::Merchant];

    /// The lower-case name used in plans, ledgers and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Series => "series",
            Self::Merchant => "merchant",
        }
    }
}

impl fmt::Display for PrivacyUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no privacy unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no privacy unit: use customer, series or merchant")]
pub struct UnknownUnit(pub String);

impl FromStr for PrivacyUnit {
    type Err = UnknownUnit;

    fn from_str(name: &str) -> Result<Self, UnknownUnit> {
        Self::ALL.into_iter().find(|unit| unit.name() == name).ok_or_else(|| UnknownUnit(name.to_owned()))
    }
}

/// Which pairs of data sets are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighboringRelation {
    /// One holds one element more than the other.
    AddOrRemove,
    /// One element differs; both hold as many.
    Replace,
}

impl fmt::Display for NeighboringRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddOrRemove => "add or remove",
            Self::Replace => "replace",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_display_parse_and_serde() {
        for unit in PrivacyUnit::ALL {
            assert_eq!(unit.to_string().parse::<PrivacyUnit>(), Ok(unit));
            let json = serde_json::to_string(&unit).unwrap();
            assert_eq!(json, format!("\"{unit}\""));
            assert_eq!(serde_json::from_str::<PrivacyUnit>(&json).unwrap(), unit);
        }
    }

    #[test]
    fn an_unknown_unit_is_named_in_its_refusal() {
        let refusal = "person".parse::<PrivacyUnit>().unwrap_err();
        assert!(refusal.to_string().contains("`person`"));
        assert!("Customer".parse::<PrivacyUnit>().is_err(), "names are lower-case everywhere");
    }
}
