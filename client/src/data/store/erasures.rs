//! Who was erased: a record to which lines are added and none is taken away, in a sealed file (`erasures.sealed`).
//!
//! What is remembered of an erased customer is the pseudonym, which is a keyed hash, keyed hashes of the order numbers (a row
//! of another table may name the order and nobody), the day, and counts. From the first line
//! of an erasure on, every import leaves that customer's rows out; a second line says that they are gone from the tables. An
//! erasure without its second line was interrupted, and is finished when the store is opened next.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{StoreError, error::NormalFormError, file};
use crate::data::{ingest::TableKind, order::CustomerPseudonym, pseudonym::PseudonymKey, vault::Vault};

/// File of the record, in the data directory.
const FILE: &str = "erasures.sealed";

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
enum Line {
    /// From now on the customer's rows are left out: those up to `until`, or all where it is absent.
    Erased { day: String, pseudonym: String, until: Option<String>, orders: Vec<String> },
    /// They are gone from the tables.
    Removed { day: String, pseudonym: String, rows: BTreeMap<TableKind, u64> },
    /// The customer's rows are taken again.
    Forgotten { day: String, pseudonym: String },
}

/// One erasure, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// Day, in UTC.
    pub day: String,
    /// Who, as a keyed hash.
    pub pseudonym: String,
    /// Rows up to this day are left out of later imports; all rows where absent.
    pub until: Option<String>,
    /// Rows that were removed, by table.
    pub rows: BTreeMap<TableKind, u64>,
    /// Whether the rows are gone from the tables.
    pub is_finished: bool,
    /// When it was asked that the customer's rows be taken again.
    pub forgotten: Option<String>,
}

/// Until which day an erased customer's rows are left out; for good where absent.
type Until = Option<Date>;

/// The record, read.
#[derive(Default)]
pub(super) struct Erasures {
    lines: Vec<Line>,
    /// Customers whose rows are left out now.
    erased: HashMap<CustomerPseudonym, Until>,
    /// Their orders, as keyed hashes.
    orders: HashMap<CustomerPseudonym, CustomerPseudonym>,
    /// Customers whose rows may still be in the tables.
    unfinished: Vec<CustomerPseudonym>,
}

impl Erasures {
    /// Reads the record of a data directory.
    ///
    /// # Errors
    /// When it does not open: without it, rows of erased customers would come back.
    pub fn read(vault: &Vault, dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let bytes = file::read_sealed(vault, &path)?.unwrap_or_default();
        let mut erasures = Self::default();
        for (at, text) in bytes.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()).enumerate() {
            let damaged = |what: String| StoreError::Damaged {
                path: path.clone(),
                source: NormalFormError { line: at as u64 + 1, what },
            };
            let line: Line = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
            erasures.count(&line).ok_or_else(|| damaged("a pseudonym or a day does not parse".to_owned()))?;
            erasures.lines.push(line);
        }
        Ok(erasures)
    }

    /// What a line changes; `None` where it does not parse.
    fn count(&mut self, line: &Line) -> Option<()> {
        let (Line::Erased { pseudonym, .. } | Line::Removed { pseudonym, .. } | Line::Forgotten { pseudonym, .. }) =
            line;
        let customer = CustomerPseudonym::from_hex(pseudonym)?;
        match line {
            Line::Erased { until, orders, .. } => {
                let until =
                    until.as_ref().map(|day| day.parse::<Date>().ok()).map_or(Some(None), |day| day.map(Some))?;
                // For good is not taken back by a later erasure up to a day.
                let is_for_good = self.erased.get(&customer).is_some_and(Option::is_none);
                self.erased.insert(customer, if is_for_good { None } else { until });
                for order in orders {
                    self.orders.insert(CustomerPseudonym::from_hex(order)?, customer);
                }
                self.unfinished.push(customer);
            }
            Line::Removed { .. } => self.unfinished.retain(|other| *other != customer),
            Line::Forgotten { .. } => {
                self.erased.remove(&customer);
                self.orders.retain(|_, of| *of != customer);
            }
        }
        Some(())
    }

    fn add(&mut self, vault: &Vault, dir: &Path, line: Line) -> Result<(), StoreError> {
        let mut text = String::new();
        for line in self.lines.iter().chain([&line]) {
            text.push_str(&serde_json::to_string(line).expect("names and numbers always serialise"));
            text.push('\n');
        }
        file::write_sealed(vault, &dir.join(FILE), text.as_bytes())?;
        // What was just written parses.
        let _ = self.count(&line);
        self.lines.push(line);
        Ok(())
    }

    /// Notes that a customer's rows are left out from now on.
    pub fn begin(
        &mut self,
        vault: &Vault,
        dir: &Path,
        customer: CustomerPseudonym,
        until: Option<Date>,
        orders: Vec<String>,
    ) -> Result<(), StoreError> {
        let until = until.map(|day| day.to_string());
        self.add(vault, dir, Line::Erased { day: today().to_string(), pseudonym: customer.to_string(), until, orders })
    }

    /// Notes that they are gone from the tables.
    pub fn finish(
        &mut self,
        vault: &Vault,
        dir: &Path,
        customer: CustomerPseudonym,
        rows: BTreeMap<TableKind, u64>,
    ) -> Result<(), StoreError> {
        self.add(vault, dir, Line::Removed { day: today().to_string(), pseudonym: customer.to_string(), rows })
    }

    /// Notes that a customer's rows are taken again. Returns whether they were left out.
    pub fn forget(&mut self, vault: &Vault, dir: &Path, customer: CustomerPseudonym) -> Result<bool, StoreError> {
        if !self.erased.contains_key(&customer) {
            return Ok(false);
        }
        self.add(vault, dir, Line::Forgotten { day: today().to_string(), pseudonym: customer.to_string() })?;
        Ok(true)
    }

    /// Whether a row of this customer and day is left out.
    pub fn leave_out(&self, customer: Option<CustomerPseudonym>, day: Option<Date>) -> bool {
        if self.erased.is_empty() {
            return false;
        }
        let Some(until) = customer.and_then(|customer| self.erased.get(&customer)) else { return false };
        until.is_none_or(|until| day.is_none_or(|day| day <= until))
    }

    /// Whether anybody is erased now.
    pub fn is_empty(&self) -> bool {
        self.erased.is_empty()
    }

    /// Whose order this is, of the erased customers; `key` hashes order numbers.
    pub fn of_order(&self, order: &str, key: &PseudonymKey) -> Option<CustomerPseudonym> {
        if self.orders.is_empty() { None } else { self.orders.get(&key.pseudonym(order)).copied() }
    }

    /// Until when a customer's rows are left out; `None` for one who is not erased.
    pub fn until(&self, customer: CustomerPseudonym) -> Option<Until> {
        self.erased.get(&customer).copied()
    }

    /// Customers whose rows may still be in the tables.
    pub fn unfinished(&self) -> &[CustomerPseudonym] {
        &self.unfinished
    }

    /// Every erasure, oldest first.
    pub fn list(&self) -> Vec<Erasure> {
        let mut list: Vec<Erasure> = Vec::new();
        for line in &self.lines {
            match line {
                Line::Erased { day, pseudonym, until, .. } => list.push(Erasure {
                    day: day.clone(),
                    pseudonym: pseudonym.clone(),
                    until: until.clone(),
                    rows: BTreeMap::new(),
                    is_finished: false,
                    forgotten: None,
                }),
                Line::Removed { pseudonym, rows, .. } => {
                    for erasure in list.iter_mut().filter(|one| one.pseudonym == *pseudonym && !one.is_finished) {
                        erasure.is_finished = true;
                        erasure.rows = rows.clone();
                    }
                }
                Line::Forgotten { day, pseudonym } => {
                    for erasure in list.iter_mut().filter(|one| one.pseudonym == *pseudonym) {
                        erasure.forgotten.get_or_insert_with(|| day.clone());
                    }
                }
            }
        }
        list
    }
}

/// Today, in UTC.
pub(super) fn today() -> Date {
    jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date()
}
