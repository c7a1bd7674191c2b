//! What a file is and how it is read: as the caller says, as the mapping file says, or as its columns suggest.

use std::{collections::BTreeMap, path::Path};

use super::{StoreError, file, import::ImportOptions};
use crate::data::ingest::{
    self, IngestError, Input, Mapping, MappingError, Table, TableFormat, TableKind, TableMapping,
};

/// Columns that a guess would read as a field for which the stored mapping has none: they came with a later file.
pub(super) fn unread(kind: TableKind, table: &Table, mapping: &TableMapping) -> BTreeMap<String, String> {
    let is_used = |column: &String| mapping.columns.values().chain(&mapping.attributes).any(|used| used == column);
    if table.header().iter().all(is_used) {
        return BTreeMap::new();
    }
    let Ok(guess) = ingest::guess(kind, table) else { return BTreeMap::new() };
    let has = |field: &String| mapping.columns.contains_key(field) || mapping.constants.contains_key(field);
    guess.columns.into_iter().filter(|(field, column)| !has(field) && !is_used(column)).collect()
}

/// The mappings in a file; none where there is no file.
pub(super) fn mappings_of(path: &Path) -> Result<Mapping, StoreError> {
    let Some(bytes) = file::read(path)? else { return Ok(Mapping::default()) };
    let damaged = |source| StoreError::Mapping { path: path.to_owned(), source };
    Mapping::from_toml(&String::from_utf8_lossy(&bytes)).map_err(damaged)
}

/// What a file is and how it is read.
pub(super) struct Chosen {
    pub kind: TableKind,
    pub table: Table,
    pub mapping: TableMapping,
    /// Whether the mapping was guessed.
    pub is_guessed: bool,
    /// Why the stored mapping was not taken, where there is one.
    pub unfit: Option<MappingError>,
}

/// As the caller says, else as the mapping file says where that fits, else guessed. A mapping file that the caller named, or
/// with a mistake that no file could mend, is never passed over for a guess.
pub(super) fn choose_mapping(input: &Input, options: &ImportOptions, stored: &Mapping) -> Result<Chosen, IngestError> {
    let open = |format: &TableFormat| {
        options.with.iter().try_fold(Table::open(input, format)?, |table, with| {
            table.joined_with(&Table::open(with, &TableFormat::default())?)
        })
    };
    if let Some(mapping) = &options.mapping {
        let table = open(&mapping.format())?;
        let kind =
            options.kind.or_else(|| TableKind::ALL.into_iter().find(|kind| mapping.check(*kind, &table).is_ok()));
        let kind = kind.ok_or_else(|| unknown(&table))?;
        return Ok(Chosen { kind, table, mapping: mapping.clone(), is_guessed: false, unfit: None });
    }
    let wrong =
        |table: &Table, kind, source| IngestError::Mapping { file: table.name().to_owned(), table: kind, source };
    let kinds = TableKind::ALL.into_iter().filter(|kind| options.kind.is_none_or(|wanted| wanted == *kind));
    for kind in kinds.filter(|_| options.hints.is_empty()) {
        let Some(mapping) = stored.table(kind) else { continue };
        // The same columns with another delimiter are the same table.
        for format in [mapping.format(), TableFormat { delimiter: None, ..mapping.format() }] {
            let Ok(table) = open(&format) else { continue };
            match mapping.check(kind, &table) {
                Ok(()) => {
                    let mapping = TableMapping { delimiter: table.delimiter(), ..mapping.clone() };
                    return Ok(Chosen { kind, table, mapping, is_guessed: false, unfit: None });
                }
                Err(error) if error.is_of_the_mapping_alone() => return Err(wrong(&table, kind, error)),
                Err(_) => {}
            }
        }
    }
    let format = TableFormat { delimiter: None, encoding: options.hints.encoding.clone() };
    let table = open(&format)?.with(&options.hints);
    let kind = options.kind.or_else(|| ingest::detect(&table));
    let unfit = kind.and_then(|kind| stored.table(kind)?.check(kind, &table).err());
    let unfit = unfit.filter(|_| options.hints.is_empty());
    if let (Some(kind), Some(error), Some(_)) = (kind, &unfit, &options.mapping_file) {
        return Err(wrong(&table, kind, error.clone()));
    }
    let guessed = kind.ok_or_else(|| unknown(&table)).and_then(|kind| Ok((kind, ingest::guess(kind, &table)?)));
    match guessed {
        Ok((kind, mapping)) => Ok(Chosen { kind, table, mapping, is_guessed: true, unfit }),
        // Where nothing can be guessed, a stored mapping with a slip in it is the likelier cause.
        Err(error) => Err(misfit(&table, kind, stored).unwrap_or(error)),
    }
}

/// What keeps a stored mapping from fitting a table, if the table has some of its columns.
fn misfit(table: &Table, kind: Option<TableKind>, stored: &Mapping) -> Option<IngestError> {
    TableKind::ALL.into_iter().filter(|candidate| kind.is_none_or(|kind| kind == *candidate)).find_map(|kind| {
        let mapping = stored.table(kind)?;
        mapping.columns.values().find(|column| table.column(column).is_some())?;
        let source = mapping.check(kind, table).err()?;
        Some(IngestError::Mapping { file: table.name().to_owned(), table: kind, source })
    })
}

fn unknown(table: &Table) -> IngestError {
    IngestError::UnknownTable { file: table.name().to_owned(), header: table.header_shown() }
}
