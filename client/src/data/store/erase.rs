//! Erasing one customer from the tables, and giving out what is held about one.
//!
//! Order of an erasure: the record says that it begins, each table is rewritten whole without the customer's rows, what an
//! interrupted import may have left beside the tables is removed, the record says that it is done. A crash before the first
//! step leaves everything; after it, the erasure is finished when the store is opened next, before anything is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
};

use jiff::civil::Date;
use serde::Serialize;

use super::{
    Importer, StoreError,
    erasures::{Erasure, Erasures, today},
    rows::{self, StoredRecord, StoredRows},
};
use crate::data::{ingest::TableKind, order::CustomerPseudonym};

/// How far an erasure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Rows up to today; what the customer orders later is taken.
    UpToToday,
    /// Rows of any day, later ones too.
    ForGood,
}

/// What an erasure did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Who, as a keyed hash.
    pub pseudonym: String,
    /// Rows removed, by table; tables without customers are not named.
    pub rows: BTreeMap<TableKind, u64>,
    /// Rows up to this day are left out of later imports; all rows where absent.
    pub until: Option<String>,
    /// When the customer was erased before.
    pub erased_before: Option<String>,
    /// Whether anything was done: not where nothing is held, or no more than was erased before.
    pub is_new: bool,
}

impl Importer {
    /// The pseudonym of a customer as the shop's files have it.
    pub fn pseudonym(&self, raw: &str) -> CustomerPseudonym {
        self.secret.pseudonym_key().pseudonym(raw)
    }

    /// Rows of a customer, by table; tables without customers are not named.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn rows_of(&self, customer: CustomerPseudonym) -> Result<BTreeMap<TableKind, u64>, StoreError> {
        Ok(self.held_of(customer)?.0)
    }

    /// Rows of a customer by table, and the last day of them.
    fn held_of(&self, customer: CustomerPseudonym) -> Result<(BTreeMap<TableKind, u64>, Option<Date>), StoreError> {
        let orders = self.orders_of(customer)?;
        let (mut counts, mut last) = (BTreeMap::new(), None);
        for kind in TableKind::ALL {
            let Some(stored) = StoredRows::open(&self.vault, &self.table_path(kind))? else { continue };
            if !stored.header().has_customers() {
                continue;
            }
            let mut count = 0;
            stored.each(|row| {
                if is_of(kind, row, customer, |order| orders.contains(order)) {
                    count += 1;
                    last = last.max(row.day());
                }
                Ok(())
            })?;
            counts.insert(kind, count);
        }
        Ok((counts, last))
    }

    /// Numbers of a customer's orders.
    fn orders_of(&self, customer: CustomerPseudonym) -> Result<BTreeSet<String>, StoreError> {
        let mut orders = BTreeSet::new();
        if let Some(stored) = StoredRows::open(&self.vault, &self.table_path(TableKind::Orders))? {
            stored.each(|row| {
                if row.customer() == Some(customer) {
                    orders.extend(row.order().map(str::to_owned));
                }
                Ok(())
            })?;
        }
        Ok(orders)
    }

    /// Removes a customer's rows from every table and remembers to leave them out.
    ///
    /// # Errors
    /// When the record or a table cannot be read or written. Then nothing has changed, or the rest is done when the store
    /// is opened next.
    pub fn erase(&self, customer: CustomerPseudonym, scope: Scope) -> Result<Erased, StoreError> {
        let _lock = self.lock()?;
        let mut erasures = self.erasures()?;
        let pseudonym = customer.to_string();
        let earlier = erasures.list().into_iter().rfind(|one| one.pseudonym == pseudonym && one.forgotten.is_none());
        let (rows, last) = self.held_of(customer)?;
        let is_held = rows.values().any(|count| *count > 0);
        let was_for_good = erasures.until(customer).is_some_and(|until| until.is_none());
        let reaches_further = scope == Scope::ForGood && !was_for_good;
        let mut erased = Erased {
            pseudonym,
            rows,
            until: earlier.as_ref().and_then(|earlier| earlier.until.clone()),
            erased_before: earlier.as_ref().map(|earlier| earlier.day.clone()),
            is_new: is_held || reaches_further,
        };
        if !erased.is_new {
            return Ok(erased);
        }
        // What is held goes in any case, pre-orders too.
        let up_to = last.map_or_else(today, |last| last.max(today()));
        let until = (scope == Scope::UpToToday && !was_for_good).then_some(up_to);
        erased.until = until.map(|day| day.to_string());
        let key = self.secret.erased_order_key();
        let orders = self.orders_of(customer)?.iter().map(|order| key.pseudonym(order).to_string()).collect();
        erasures.begin(&self.vault, &self.dir, customer, until, orders)?;
        erased.rows = self.remove_customer(&mut erasures, customer)?;
        Ok(erased)
    }

    /// Takes a customer's rows again in later imports. Returns whether they were left out.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn forget_erasure(&self, customer: CustomerPseudonym) -> Result<bool, StoreError> {
        let _lock = self.lock()?;
        self.erasures()?.forget(&self.vault, &self.dir, customer)
    }

    /// Every erasure, oldest first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn erasure_list(&self) -> Result<Vec<Erasure>, StoreError> {
        Ok(self.erasures()?.list())
    }

    /// Writes a customer's rows of one table as CSV. Returns how many there were.
    ///
    /// # Errors
    /// When the table cannot be read or `to` not be written.
    pub fn export_customer(
        &self,
        customer: CustomerPseudonym,
        kind: TableKind,
        to: &mut impl Write,
        to_path: &Path,
    ) -> Result<u64, StoreError> {
        let orders = self.orders_of(customer)?;
        let open = || StoredRows::open(&self.vault, &self.table_path(kind));
        rows::write_csv(open, |row| is_of(kind, row, customer, |order| orders.contains(order)), to, to_path)
    }

    /// Writes a whole table as CSV. Returns how many rows it has.
    ///
    /// # Errors
    /// When the table cannot be read or `to` not be written.
    pub fn export_table(&self, kind: TableKind, to: &mut impl Write, to_path: &Path) -> Result<u64, StoreError> {
        let open = || StoredRows::open(&self.vault, &self.table_path(kind));
        rows::write_csv(open, |_| true, to, to_path)
    }

    pub(super) fn erasures(&self) -> Result<Erasures, StoreError> {
        Erasures::read(&self.vault, &self.dir)
    }

    /// Finishes erasures that were interrupted.
    pub(super) fn finish_erasures(&self) -> Result<(), StoreError> {
        let mut erasures = self.erasures()?;
        if erasures.unfinished().is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        while let Some(customer) = erasures.unfinished().first().copied() {
            self.remove_customer(&mut erasures, customer)?;
        }
        Ok(())
    }

    /// The steps after the first.
    fn remove_customer(
        &self,
        erasures: &mut Erasures,
        customer: CustomerPseudonym,
    ) -> Result<BTreeMap<TableKind, u64>, StoreError> {
        let mut counts = BTreeMap::new();
        for kind in TableKind::ALL {
            if let Some(gone) = self.remove_erased(kind, erasures)? {
                counts.insert(kind, gone);
            }
        }
        self.remove_remains()?;
        erasures.finish(&self.vault, &self.dir, customer, counts.clone())?;
        Ok(counts)
    }

    /// Removes rows of erased customers from one table; `None` where its rows name no customers.
    pub(super) fn remove_erased(&self, kind: TableKind, erasures: &Erasures) -> Result<Option<u64>, StoreError> {
        let path = self.table_path(kind);
        let has_customers = |stored: &StoredRows| stored.header().has_customers();
        if erasures.is_empty() || !StoredRows::open(&self.vault, &path)?.as_ref().is_some_and(has_customers) {
            return Ok(None);
        }
        let key = self.secret.erased_order_key();
        let goes = |row: &StoredRecord<'_>| match (row.customer(), row.order()) {
            (Some(customer), _) => erasures.leave_out(Some(customer), row.day()),
            (None, Some(order)) if kind != TableKind::Orders => erasures.of_order(order, &key).is_some(),
            (None, _) => false,
        };
        rows::remove(&self.vault, &path, goes).map(Some)
    }

    /// Removes what an interrupted import or erasure left beside the tables; it was never read, but may hold rows.
    pub(super) fn remove_remains(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::io(&self.dir, error);
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ending| ending == "new" || ending == "changed") {
                fs::remove_file(&path).map_err(|error| StoreError::io(&path, error))?;
            }
        }
        Ok(())
    }
}

/// Whether a row is a customer's: it says so, or it names nobody and one of the customer's orders. Order lines without a
/// customer are nobody's.
fn is_of(
    kind: TableKind,
    row: &StoredRecord<'_>,
    customer: CustomerPseudonym,
    has_order: impl Fn(&str) -> bool,
) -> bool {
    match row.customer() {
        Some(other) => other == customer,
        None => kind != TableKind::Orders && row.order().is_some_and(has_order),
    }
}
