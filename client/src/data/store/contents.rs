//! What is in the store, in numbers: tables, their days, where they came from, what they are sealed with.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::PathBuf,
};

use serde::Serialize;

use super::{Importer, StoreError, erasures::Erasure, retention::Age, rows::StoredRows};
use crate::data::{
    ingest::TableKind,
    vault::{KeyId, Vault},
};

/// Sources that are listed of a table: the last ones.
const SOURCES_LISTED: usize = 20;

/// What is in the store.
#[derive(Clone, Debug, Serialize)]
pub struct Contents {
    /// The data directory.
    pub folder: PathBuf,
    /// Tables that hold something.
    pub tables: Vec<TableContents>,
    /// The key that seals.
    pub key: KeyId,
    /// Where it lies.
    pub key_file: PathBuf,
    /// Whether a new key is only partly in.
    pub is_between_keys: bool,
    /// Periods that are set, by table.
    pub retention: BTreeMap<TableKind, Age>,
    /// Customers that were erased, oldest first.
    pub erasures: Vec<Erasure>,
}

/// What is in one table.
#[derive(Clone, Debug, Serialize)]
pub struct TableContents {
    /// The table.
    pub table: TableKind,
    /// Rows.
    pub rows: u64,
    /// First day.
    pub first: Option<String>,
    /// Last day, planned ones too.
    pub last: Option<String>,
    /// Products, or series, in it.
    pub products: u64,
    /// Customers in it; absent where rows name none.
    pub customers: Option<u64>,
    /// Bytes of the sealed file.
    pub bytes: u64,
    /// The key that it is sealed with.
    pub sealed_with: KeyId,
    /// What was imported into it, latest last.
    pub sources: Vec<Source>,
    /// Earlier imports that are not listed.
    pub sources_left_out: usize,
}

/// One import.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// Day, in UTC.
    pub day: String,
    /// Name of the file, or of the database.
    pub file: String,
    /// Rows that were new.
    pub imported: u64,
}

impl Importer {
    /// What is in the store, in numbers.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn contents(&self) -> Result<Contents, StoreError> {
        let mut tables = Vec::new();
        for kind in TableKind::ALL {
            if let Some(table) = self.table_contents(kind)? {
                tables.push(table);
            }
        }
        let retention = self.retention()?;
        Ok(Contents {
            folder: self.dir.clone(),
            tables,
            key: self.vault.key_id(),
            key_file: self.vault.key_file().to_owned(),
            is_between_keys: self.vault.is_between_keys(),
            retention: TableKind::ALL.into_iter().filter_map(|kind| Some((kind, retention.of(kind)?))).collect(),
            erasures: self.erasure_list()?,
        })
    }

    fn table_contents(&self, kind: TableKind) -> Result<Option<TableContents>, StoreError> {
        let path = self.table_path(kind);
        let Some(stored) = StoredRows::open(&self.vault, &path)? else { return Ok(None) };
        let has_customers = stored.header().has_customers();
        let (mut first, mut last) = (None, None);
        let (mut products, mut customers) = (HashSet::new(), HashSet::new());
        let rows = stored.each(|row| {
            if let Some(day) = row.day() {
                first = Some(first.map_or(day, |first| day.min(first)));
                last = last.max(Some(day));
            }
            if let Some(subject) = row.subject().filter(|subject| !products.contains(*subject)) {
                products.insert(subject.to_owned());
            }
            customers.extend(row.customer());
            Ok(())
        })?;
        let bytes = fs::metadata(&path).map_err(|error| StoreError::io(&path, error))?.len();
        let mut sources: Vec<Source> = self
            .journal()
            .into_iter()
            .filter(|entry| entry.table == kind)
            .map(|entry| Source { day: entry.day, file: entry.file, imported: entry.imported })
            .collect();
        let sources_left_out = sources.len().saturating_sub(SOURCES_LISTED);
        sources.drain(..sources_left_out);
        Ok(Some(TableContents {
            table: kind,
            rows,
            first: first.map(|day| day.to_string()),
            last: last.map(|day| day.to_string()),
            products: products.len() as u64,
            customers: has_customers.then_some(customers.len() as u64),
            bytes,
            sealed_with: Vault::key_id_of(&path)?,
            sources,
            sources_left_out,
        }))
    }
}
