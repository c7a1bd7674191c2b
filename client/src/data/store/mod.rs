//! What a merchant imported, on the merchant's own disk.
//!
//! One file a table, in a normal form, sealed (see [`super::vault`]), each replaced whole: written beside the old one, flushed, then renamed over it. A
//! crash or a full disk leaves the table before the import or after it, never half of one. An import adds to what is
//! there: a file imported before is known by its content, one with lines added is read from where it ended, and every
//! row that is there already is known by itself. The raw customer id is never written. An [`Importer`] needs no table in
//! memory; a [`DataStore`] has them all.
//!
//! One customer is taken out of all tables by [`Importer::erase`], rows that are too old by [`Importer::expire`]; both rewrite
//! tables whole.

mod choose;
mod contents;
mod erase;
mod erasures;
mod error;
mod file;
mod import;
mod imports;
mod journal;
mod merge;
mod normal_form;
mod order_form;
mod orders;
mod retention;
mod rotate;
mod rows;
mod signals_form;

#[cfg(test)]
mod governance_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::civil::Date;

pub use contents::{Contents, Source, TableContents};
pub use erase::{Erased, Scope};
pub use erasures::Erasure;
pub use error::{NormalFormError, StoreError};
pub use import::{ImportOptions, Importer};
pub use journal::ImportEntry;
pub use retention::{Age, Expired, Retention};
pub use rotate::Rotated;

use super::{
    ingest::{ImportReport, Input, Mapping, TableKind},
    order::{Catalogue, OrderLine, Period, SalesRow},
    pseudonym::ContributionKey,
    signals::Signals,
};

/// A merchant's imported tables.
pub struct DataStore {
    importer: Importer,
    orders: Vec<OrderLine>,
    sales: Vec<SalesRow>,
    catalogue: Catalogue,
    signals: Signals,
}

impl DataStore {
    /// Opens the data directory (`<state>/data`), creating it, its key (mode 0600) and its secret the first time.
    ///
    /// # Errors
    /// When the directory cannot be used, a table is damaged, or tables are there but their key or secret is gone.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let importer = Importer::open(dir)?;
        let (catalogue, signals) = (Catalogue::default(), Signals::default());
        let mut store = Self { importer, orders: Vec::new(), sales: Vec::new(), catalogue, signals };
        store.reload()?;
        Ok(store)
    }

    /// Reads every table again, as another process may have imported since.
    pub fn reload(&mut self) -> Result<(), StoreError> {
        for kind in TableKind::ALL {
            self.load(kind)?;
        }
        Ok(())
    }

    /// Imports a file into what is there; the report says what became of its rows.
    ///
    /// # Errors
    /// When the file cannot be read or is no table, another import is running, or the disk is full. Nothing has
    /// changed then.
    pub fn import_file(&mut self, path: &Path, options: &ImportOptions) -> Result<ImportReport, StoreError> {
        self.import(&Input::file(path)?, options)
    }

    /// Imports a file's bytes; `name` appears in messages and the report.
    pub fn import_bytes(
        &mut self,
        name: &str,
        bytes: &[u8],
        options: &ImportOptions,
    ) -> Result<ImportReport, StoreError> {
        self.import(&Input::bytes(name, bytes), options)
    }

    /// Imports a file, bytes or a query's answer.
    pub fn import(&mut self, input: &Input, options: &ImportOptions) -> Result<ImportReport, StoreError> {
        let report = self.importer.import(input, options)?;
        self.load(report.table)?;
        Ok(report)
    }

    /// The way into the tables, for what needs none of them in memory.
    pub fn importer(&self) -> &Importer {
        &self.importer
    }

    /// All order lines, as imported (not cleaned, not bounded).
    pub fn orders(&self) -> &[OrderLine] {
        &self.orders
    }

    /// Totals of merchants without order lines.
    pub fn sales(&self) -> &[SalesRow] {
        &self.sales
    }

    /// What the merchant authored.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What else is known of products: events, reviews, stock, the merchant's own events and vectors.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Days from the first to the last sale; `None` before any import. Derived from customers' data: for what stays
    /// here (local forecasts, reports), never for the period of private training.
    ///
    /// A slip of the pen must not move every forecast by years: days after tomorrow do not count, unless there are no others
    /// (tomorrow, since the shop may lie east of UTC).
    pub fn observed_period(&self) -> Option<Period> {
        let last = erasures::today().saturating_add(jiff::Span::new().days(1));
        let until = |last: Date| {
            let days = || self.days().filter(move |day| *day <= last);
            Period::new(days().min()?, days().max()?)
        };
        until(last).or_else(|| until(Date::MAX))
    }

    /// Order lines and totals that [`Self::observed_period`] leaves out because they are dated too far ahead.
    pub fn dated_ahead(&self) -> usize {
        self.observed_period().map_or(0, |period| self.days().filter(|day| *day > period.end()).count())
    }

    fn days(&self) -> impl Iterator<Item = Date> {
        self.orders.iter().map(|line| line.at.date()).chain(self.sales.iter().map(|row| row.date))
    }

    /// The key that orders lines for the contribution bounds; the same for as long as the data directory lives.
    pub fn contribution_key(&self) -> ContributionKey {
        self.importer.contribution_key()
    }

    /// Where the mappings lie, for the merchant to edit.
    pub fn mapping_path(&self) -> PathBuf {
        self.importer.mapping_path()
    }

    /// The mappings in use; empty before the first import.
    pub fn mappings(&self) -> Result<Mapping, StoreError> {
        self.importer.mappings()
    }

    /// The imports whose rows are in the tables, in numbers, oldest first.
    pub fn journal(&self) -> Vec<ImportEntry> {
        self.importer.journal()
    }

    fn load(&mut self, kind: TableKind) -> Result<(), StoreError> {
        match kind {
            TableKind::Orders => self.orders = self.importer.read_orders()?,
            TableKind::Sales => self.sales = self.importer.read_table(kind, normal_form::read_sales)?.0,
            TableKind::Products => {
                self.catalogue.products = self.importer.read_table(kind, normal_form::read_products)?.0;
            }
            TableKind::Calendar => {
                self.catalogue.calendar = self.importer.read_table(kind, normal_form::read_calendar)?.0;
            }
            TableKind::Holidays => {
                self.catalogue.holidays = self.importer.read_table(kind, normal_form::read_holidays)?.0;
            }
            TableKind::Events => self.signals.events = self.importer.read_table(kind, signals_form::read_events)?.0,
            TableKind::Reviews => self.signals.reviews = self.importer.read_table(kind, signals_form::read_reviews)?.0,
            TableKind::Stock => self.signals.stock = self.importer.read_table(kind, signals_form::read_stock)?.0,
            TableKind::Occasions => {
                self.signals.occasions = self.importer.read_table(kind, normal_form::read_holidays)?.0;
            }
            TableKind::Vectors => self.signals.vectors = self.importer.read_table(kind, signals_form::read_vectors)?.0,
        }
        Ok(())
    }
}
