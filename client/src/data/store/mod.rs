//! What a merchant imported, on the merchant's own disk.
//!
//! One file a table, in a normal form, each replaced whole: written beside the old one, flushed, then renamed over it. A
//! crash or a full disk leaves the table before the import or after it, never half of one. An import adds to what is
//! there; the raw customer id is never written. Every byte that goes to or comes from a table passes
//! [`file::write_atomic`] and [`file::read`], the one place where encryption at rest will sit.
//!
//! Left out: erasure and export of one customer.

mod error;
mod file;
mod merge;
mod normal_form;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

pub use error::{NormalFormError, StoreError};

use super::{
    ingest::{
        self, ImportReport, IngestError, Mapping, Table, TableFormat, TableKind, TableMapping, read_calendar,
        read_holidays, read_orders, read_products, read_sales,
    },
    order::{Catalogue, OrderLine, Period, SalesRow},
    pseudonym::{ContributionKey, DataSecret},
};

/// File of the mappings, in the data directory.
const MAPPING_FILE: &str = "mapping.toml";
/// File of the secret from which pseudonyms are derived.
const SECRET_FILE: &str = "pseudonym.key";
/// File that an import locks.
const LOCK_FILE: &str = "import.lock";

/// How a file is to be imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// What the file is; judged by its header where absent.
    pub kind: Option<TableKind>,
    /// Which column means what; from `mapping.toml` or guessed where absent.
    pub mapping: Option<TableMapping>,
}

/// A merchant's imported tables.
pub struct DataStore {
    dir: PathBuf,
    secret: DataSecret,
    orders: Vec<OrderLine>,
    sales: Vec<SalesRow>,
    catalogue: Catalogue,
}

impl DataStore {
    /// Opens the data directory (`<state>/data`), creating it and its secret (mode 0600) the first time.
    ///
    /// # Errors
    /// When the directory cannot be used, a table is damaged, or tables are there but their secret is gone.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        file::create_private_dir(dir)?;
        let secret = load_secret(dir)?;
        let mut store = Self {
            dir: dir.to_owned(),
            secret,
            orders: Vec::new(),
            sales: Vec::new(),
            catalogue: Catalogue::default(),
        };
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
        let bytes = std::fs::read(path).map_err(|error| StoreError::io(path, error))?;
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        self.import_bytes(&name, &bytes, options)
    }

    /// Imports a file's bytes; `name` appears in messages and the report.
    pub fn import_bytes(
        &mut self,
        name: &str,
        bytes: &[u8],
        options: &ImportOptions,
    ) -> Result<ImportReport, StoreError> {
        let _lock = self.lock()?;
        let mut mappings = self.mappings()?;
        let (kind, table, mapping) = choose_mapping(name, bytes, options, &mappings)?;
        let report = self.merge(kind, &table, &mapping)?;
        if mappings.table(kind).is_none() {
            *mappings.table_mut(kind) = Some(mapping);
            let path = self.mapping_path();
            let text = mappings.to_toml().map_err(|source| StoreError::Mapping { path: path.clone(), source })?;
            file::write_atomic(&path, text.as_bytes())?;
        }
        Ok(report)
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

    /// Days from the first to the last sale; `None` before any import. Derived from customers' data: for what stays
    /// here (local forecasts, reports), never for the period of private training.
    pub fn observed_period(&self) -> Option<Period> {
        let days = || self.orders.iter().map(|line| line.at.date()).chain(self.sales.iter().map(|row| row.date));
        Period::new(days().min()?, days().max()?)
    }

    /// The key that orders lines for the contribution bounds; the same for as long as the data directory lives.
    pub fn contribution_key(&self) -> ContributionKey {
        self.secret.contribution_key()
    }

    /// Where the mappings lie, for the merchant to edit.
    pub fn mapping_path(&self) -> PathBuf {
        self.dir.join(MAPPING_FILE)
    }

    /// The mappings in use; empty before the first import.
    pub fn mappings(&self) -> Result<Mapping, StoreError> {
        let path = self.mapping_path();
        let Some(bytes) = file::read(&path)? else { return Ok(Mapping::default()) };
        Mapping::from_toml(&String::from_utf8_lossy(&bytes)).map_err(|source| StoreError::Mapping { path, source })
    }

    fn table_path(&self, kind: TableKind) -> PathBuf {
        self.dir.join(format!("{}.csv", kind.name()))
    }

    fn lock(&self) -> Result<File, StoreError> {
        let path = self.dir.join(LOCK_FILE);
        let lock = File::create(&path).map_err(|error| StoreError::io(&path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked { dir: self.dir.clone() }),
            Err(std::fs::TryLockError::Error(error)) => Err(StoreError::io(&path, error)),
        }
    }

    fn load(&mut self, kind: TableKind) -> Result<(), StoreError> {
        let path = self.table_path(kind);
        let bytes = file::read(&path)?.unwrap_or_default();
        let damaged = |source| StoreError::Damaged { path: path.clone(), source };
        match kind {
            TableKind::Orders => self.orders = normal_form::read_orders(&bytes).map_err(damaged)?,
            TableKind::Sales => self.sales = normal_form::read_sales(&bytes).map_err(damaged)?,
            TableKind::Products => self.catalogue.products = normal_form::read_products(&bytes).map_err(damaged)?,
            TableKind::Calendar => self.catalogue.calendar = normal_form::read_calendar(&bytes).map_err(damaged)?,
            TableKind::Holidays => self.catalogue.holidays = normal_form::read_holidays(&bytes).map_err(damaged)?,
        }
        Ok(())
    }

    /// Merges a table into the stored one: the new table is on disk before it is in memory.
    fn merge(&mut self, kind: TableKind, table: &Table, mapping: &TableMapping) -> Result<ImportReport, StoreError> {
        self.load(kind)?;
        let path = self.table_path(kind);
        let report = match kind {
            TableKind::Orders => {
                let (rows, mut report) = read_orders(table, mapping, &self.secret.pseudonym_key())?;
                let orders = merge::orders(&self.orders, rows, &mut report);
                file::write_atomic(&path, &normal_form::write_orders(&orders))?;
                self.orders = orders;
                report
            }
            TableKind::Sales => {
                let (rows, mut report) = read_sales(table, mapping)?;
                let sales = merge::sales(&self.sales, rows, &mut report);
                file::write_atomic(&path, &normal_form::write_sales(&sales))?;
                self.sales = sales;
                report
            }
            TableKind::Products => {
                let (rows, mut report) = read_products(table, mapping)?;
                let rows = rows.into_iter().map(|(line, product)| (line, product.id.clone(), product)).collect();
                let products = merge::keyed(&self.catalogue.products, rows, "product", &mut report);
                file::write_atomic(&path, &normal_form::write_products(&products))?;
                self.catalogue.products = products;
                report
            }
            TableKind::Calendar => {
                let (rows, mut report) = read_calendar(table, mapping)?;
                let calendar = merge::calendar(&self.catalogue.calendar, rows, &mut report);
                file::write_atomic(&path, &normal_form::write_calendar(&calendar))?;
                self.catalogue.calendar = calendar;
                report
            }
            TableKind::Holidays => {
                let (rows, mut report) = read_holidays(table, mapping)?;
                let rows = rows.into_iter().map(|(line, row)| (line, row.date, row.name)).collect();
                let holidays: BTreeMap<_, _> = merge::keyed(&self.catalogue.holidays, rows, "holiday", &mut report);
                file::write_atomic(&path, &normal_form::write_holidays(&holidays))?;
                self.catalogue.holidays = holidays;
                report
            }
        };
        Ok(report)
    }
}

/// The secret of a data directory. A missing one is made only where no table could depend on it.
fn load_secret(dir: &Path) -> Result<DataSecret, StoreError> {
    let path = dir.join(SECRET_FILE);
    if let Some(bytes) = file::read_secret(&path)? {
        return DataSecret::from_bytes(&bytes).ok_or(StoreError::SecretDamaged { path });
    }
    if dir.join(format!("{}.csv", TableKind::Orders.name())).exists() {
        return Err(StoreError::SecretMissing { path });
    }
    let secret = DataSecret::generate().ok_or(StoreError::NoEntropy)?;
    file::write_atomic(&path, secret.as_bytes())?;
    Ok(secret)
}

/// What a file is and how it is mapped: as the caller says, else as `mapping.toml` says where that fits, else guessed.
fn choose_mapping(
    name: &str,
    bytes: &[u8],
    options: &ImportOptions,
    stored: &Mapping,
) -> Result<(TableKind, Table, TableMapping), IngestError> {
    if let Some(mapping) = &options.mapping {
        let table = Table::from_bytes(name, bytes, &mapping.format())?;
        let kind =
            options.kind.or_else(|| TableKind::ALL.into_iter().find(|kind| mapping.check(*kind, &table).is_ok()));
        let kind = kind.ok_or_else(|| unknown(name, &table))?;
        return Ok((kind, table, mapping.clone()));
    }
    for kind in TableKind::ALL.into_iter().filter(|kind| options.kind.is_none_or(|wanted| wanted == *kind)) {
        if let Some(mapping) = stored.table(kind) {
            let table = Table::from_bytes(name, bytes, &mapping.format());
            if let Some(table) = table.ok().filter(|table| mapping.check(kind, table).is_ok()) {
                return Ok((kind, table, mapping.clone()));
            }
        }
    }
    let table = Table::from_bytes(name, bytes, &TableFormat::default())?;
    let kind = options.kind.or_else(|| ingest::detect(&table));
    let guessed = kind.ok_or_else(|| unknown(name, &table)).and_then(|kind| Ok((kind, ingest::guess(kind, &table)?)));
    match guessed {
        Ok((kind, mapping)) => Ok((kind, table, mapping)),
        // Where nothing can be guessed, a stored mapping with a slip in it is the likelier cause.
        Err(error) => Err(misfit(name, &table, kind, stored).unwrap_or(error)),
    }
}

/// What keeps a stored mapping from fitting a table, if the table has some of its columns.
fn misfit(name: &str, table: &Table, kind: Option<TableKind>, stored: &Mapping) -> Option<IngestError> {
    TableKind::ALL.into_iter().filter(|candidate| kind.is_none_or(|kind| kind == *candidate)).find_map(|kind| {
        let mapping = stored.table(kind)?;
        mapping.columns.values().find(|column| table.column(column).is_some())?;
        let source = mapping.check(kind, table).err()?;
        Some(IngestError::Mapping { file: name.to_owned(), table: kind, source })
    })
}

fn unknown(name: &str, table: &Table) -> IngestError {
    IngestError::UnknownTable { file: name.to_owned(), header: table.header_shown() }
}
