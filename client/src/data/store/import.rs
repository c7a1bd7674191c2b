//! Importing a file or a query's answer into the stored tables.
//!
//! Order: lock, mapping, rows, the new table beside the old one, rename. Nothing before the rename changes what is
//! stored, so a crash, a full disk or a file that breaks off in its middle leaves the table as it was. What came of it is
//! noted in the journal afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

use jiff::civil::Date;
use zeroize::Zeroizing;

use super::{
    choose::{Chosen, choose_mapping, mappings_of, unread},
    erasures::today,
    error::{NormalFormError, StoreError},
    file,
    imports::{self, Imported},
    journal::{self, ImportEntry},
    merge,
    normal_form::{self, Stored},
    order_form::{OrderReader, StoredOrder},
    orders::OrderMerge,
    signals_form,
};
use crate::data::{
    ingest::{
        Hints, ImportReport, IngestError, Input, Mapping, MappingOrigin, Mark, ReadTo, Table, TableKind, TableMapping,
        counts_events, read_calendar, read_events, read_holidays, read_occasions, read_orders, read_products,
        read_reviews, read_sales, read_stock, read_vectors,
    },
    order::OrderLine,
    pseudonym::{ContributionKey, DataSecret},
    vault::{SEALED, Vault},
};

/// File of the mappings, in the data directory.
const MAPPING_FILE: &str = "mapping.toml";
/// File of the secret from which pseudonyms are derived.
const SECRET_FILE: &str = "pseudonym.sealed";
/// The same from before files were sealed.
const SECRET_IN_THE_CLEAR: &str = "pseudonym.key";
/// File that an import locks.
const LOCK_FILE: &str = "import.lock";

/// How a file is to be imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// What the file is; judged by its header where absent.
    pub kind: Option<TableKind>,
    /// Which column means what; from the mapping file or guessed where absent.
    pub mapping: Option<TableMapping>,
    /// Mapping file, which must then fit; `mapping.toml` in the data directory, or a guess, where absent.
    pub mapping_file: Option<PathBuf>,
    /// What is known of the file beforehand. Where anything is, the columns are guessed with it, and not taken from the
    /// mapping file.
    pub hints: Hints,
    /// Tables with further columns of the input's rows, joined in this order by a column that both have.
    pub with: Vec<Input>,
    /// Read a file from its beginning though it was imported before.
    pub again: bool,
    /// Tables that are emptied first: the way to bring files in with another mapping.
    pub anew: BTreeSet<TableKind>,
}

/// Imports into a data directory, without its tables in memory.
pub struct Importer {
    pub(super) dir: PathBuf,
    pub(super) vault: Vault,
    pub(super) secret: DataSecret,
}

impl Importer {
    /// Opens the data directory (`<state>/data`), creating it, its key (mode 0600) and its secret the first time.
    ///
    /// # Errors
    /// When the directory cannot be used, or tables are there but their key or their secret is gone.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        file::create_private_dir(dir)?;
        refuse_what_is_in_the_clear(dir)?;
        let vault = Vault::open(dir)?;
        let secret = load_secret(dir, &vault)?;
        let importer = Self { dir: dir.to_owned(), vault, secret };
        importer.finish_erasures()?;
        Ok(importer)
    }

    /// Imports into what is there; the report says what became of the rows.
    ///
    /// # Errors
    /// When the input cannot be read or is no table, another import is running, or the disk is full. Nothing has
    /// changed then.
    pub fn import(&self, input: &Input, options: &ImportOptions) -> Result<ImportReport, StoreError> {
        let _lock = self.lock()?;
        let path = options.mapping_file.clone().unwrap_or_else(|| self.mapping_path());
        let mut mappings = mappings_of(&path)?;
        let Chosen { kind, table, mapping, is_guessed, unfit } = choose_mapping(input, options, &mappings)?;
        if kind == TableKind::Orders && mapping.constants.contains_key("customer_id") {
            return Err(StoreError::ConstantCustomer);
        }
        let unread = if is_guessed { BTreeMap::new() } else { unread(kind, &table, &mapping) };
        let kept_from = self.retention()?.of(kind).map(|period| period.kept_from(today()));
        let mut report = self.import_table(kind, &table, &mapping, options, kept_from)?;
        if kind != TableKind::Orders {
            // Order lines were left out one by one; rows of other tables, of which there are fewer, once they are in.
            let erased = self.remove_erased(kind, &self.erasures()?)?.unwrap_or_default();
            report.erased += erased;
            report.imported = report.imported.saturating_sub(erased);
        }
        if let Some(from) = kept_from {
            report.kept_from = Some(from.to_string());
            report.expired_stored = self.expire_table(kind, from)?;
        }
        report.unread = unread;
        report.unfit = unfit.map(|error| error.to_string());
        journal::add(&self.vault, &self.dir, &report, options.anew.contains(&kind));
        if is_guessed && mappings.table(kind).is_none() {
            report.mapping = MappingOrigin::Guessed;
            *mappings.table_mut(kind) = Some(mapping);
            let text = mappings.to_toml().map_err(|source| StoreError::Mapping { path: path.clone(), source })?;
            file::write_atomic(&path, text.as_bytes())?;
        } else if is_guessed {
            report.mapping = MappingOrigin::GuessedBeside;
        }
        Ok(report)
    }

    /// Where the mappings lie, for the merchant to edit.
    pub fn mapping_path(&self) -> PathBuf {
        self.dir.join(MAPPING_FILE)
    }

    /// The mappings in use; empty before the first import.
    pub fn mappings(&self) -> Result<Mapping, StoreError> {
        mappings_of(&self.mapping_path())
    }

    pub(super) fn journal(&self) -> Vec<ImportEntry> {
        journal::read(&self.vault, &self.dir)
    }

    pub(super) fn contribution_key(&self) -> ContributionKey {
        self.secret.contribution_key()
    }

    pub(super) fn table_path(&self, kind: TableKind) -> PathBuf {
        self.dir.join(format!("{}.{SEALED}", kind.name()))
    }

    /// A stored table other than order lines.
    pub(super) fn read_table<T>(
        &self,
        kind: TableKind,
        read: impl Fn(&[u8]) -> Result<Stored<T>, NormalFormError>,
    ) -> Result<Stored<T>, StoreError> {
        let path = self.table_path(kind);
        let bytes = file::read_sealed(&self.vault, &path)?.unwrap_or_default();
        read(&bytes).map_err(|source| StoreError::Damaged { path, source })
    }

    /// The stored order lines.
    pub(super) fn read_orders(&self) -> Result<Vec<OrderLine>, StoreError> {
        let mut lines = Vec::new();
        let Some(mut reader) = OrderReader::open(&self.vault, &self.table_path(TableKind::Orders))? else {
            return Ok(lines);
        };
        while let Some(stored) = reader.next()? {
            if let StoredOrder::Line(line) = stored {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let path = self.dir.join(LOCK_FILE);
        let lock = File::create(&path).map_err(|error| StoreError::io(&path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked { dir: self.dir.clone() }),
            Err(std::fs::TryLockError::Error(error)) => Err(StoreError::io(&path, error)),
        }
    }

    /// Order lines are facts that stay: what any earlier import read need not be read again.
    fn import_orders(
        &self,
        table: &Table,
        mapping: &TableMapping,
        options: &ImportOptions,
        kept_from: Option<Date>,
    ) -> Result<ImportReport, StoreError> {
        let erasures = self.erasures()?;
        let path = self.table_path(TableKind::Orders);
        let is_anew = options.anew.contains(&TableKind::Orders);
        let mut merge =
            if is_anew { OrderMerge::anew(&self.vault, &path) } else { OrderMerge::begin(&self.vault, &path)? };
        let reading = imports::reading(mapping, table.query());
        let (earlier, otherwise): (Vec<_>, Vec<_>) =
            merge.imports().iter().cloned().partition(|import| import.reading == reading);
        let from = if options.again { ReadTo::default() } else { read_before(table, &earlier)? };
        let otherwise = last_of(table, &otherwise)?;
        let (mut taken, mut known_again) = (Taken::default(), 0);
        let (mut report, read_to) =
            read_orders(table, mapping, &self.secret.pseudonym_key(), &from, |report, number, line| {
                let (rejected, imported) = (report.rejected_total, report.imported);
                let day = line.at.date();
                if erasures.leave_out(line.customer, Some(day)) {
                    report.erased += 1;
                } else if kept_from.is_some_and(|from| day < from) {
                    report.expired += 1;
                } else {
                    merge.take(report, number, &line)?;
                }
                if report.rejected_total == rejected {
                    taken.one(number);
                    let was_read = otherwise.as_ref().is_some_and(|(_, mark)| number < mark.line);
                    known_again += u64::from(was_read && report.imported == imported);
                }
                Ok::<_, StoreError>(())
            })?;
        if let Some((import, _)) = otherwise.filter(|(import, _)| known_again < import.lines) {
            let (file, day, lines) = (table.name().to_owned(), import.day, import.lines - known_again);
            return Err(StoreError::ReadOtherwise { file, day, lines });
        }
        refuse_if_unusable(&report, from.mark.is_none())?;
        if let Some(mark) = from.mark {
            report.read_before = mark.line.saturating_sub(1);
            if report.rows == 0 {
                let import = earlier.iter().find(|import| import.mark == Some(mark));
                report.imported_before = import.map(|import| import.day.clone());
                return Ok(report);
            }
        }
        let before = earlier.iter().find(|import| import.mark.is_some() && import.mark == from.mark);
        let lines = before.map_or(0, |import| import.lines) + taken.up_to(read_to.mark.as_ref());
        let import = Imported::now(table.name(), reading, read_to.or_cursor_of(&from), lines);
        merge.finish(import, from.mark.as_ref())?;
        Ok(report)
    }

    /// Rows of tables other than orders replace each other, and an older file is a way back: files are read whole.
    fn import_table(
        &self,
        kind: TableKind,
        table: &Table,
        mapping: &TableMapping,
        options: &ImportOptions,
        kept_from: Option<Date>,
    ) -> Result<ImportReport, StoreError> {
        let reading = imports::reading(mapping, table.query());
        let path = self.table_path(kind);
        let (again, anew) = (options.again, options.anew.contains(&kind));
        let replace = Replace { importer: self, kind, table, reading, again, anew };
        let (bytes, report) = match kind {
            TableKind::Orders => return self.import_orders(table, mapping, options, kept_from),
            TableKind::Sales => replace.by(
                normal_form::read_sales,
                |from| read_sales(table, mapping, from),
                |stored, rows, report| merge::sales(stored, kept(rows, |row| row.date, kept_from, report), report),
                |sales, imports| normal_form::write_sales(sales, imports),
            )?,
            TableKind::Products => replace.by(
                normal_form::read_products,
                |from| read_products(table, mapping, from),
                |stored, rows, report| {
                    let rows = rows.into_iter().map(|(line, product)| (line, product.id.clone(), product)).collect();
                    merge::keyed(stored, rows, "product", report)
                },
                normal_form::write_products,
            )?,
            TableKind::Calendar => replace.by(
                normal_form::read_calendar,
                |from| read_calendar(table, mapping, from),
                |stored, rows, report| merge::calendar(stored, kept(rows, |row| row.date, kept_from, report), report),
                normal_form::write_calendar,
            )?,
            TableKind::Holidays => replace.by(
                normal_form::read_holidays,
                |from| read_holidays(table, mapping, from),
                |stored, rows, report| {
                    let rows = rows.into_iter().map(|(line, row)| (line, row.date, row.name)).collect();
                    merge::keyed(stored, rows, "holiday", report)
                },
                normal_form::write_holidays,
            )?,
            TableKind::Events => replace.by(
                signals_form::read_events,
                |from| read_events(table, mapping, &self.secret.pseudonym_key(), from),
                |stored, rows, report| merge::events(stored, rows, counts_events(mapping), report),
                |events, imports| signals_form::write_events(events, imports),
            )?,
            TableKind::Reviews => replace.by(
                signals_form::read_reviews,
                |from| read_reviews(table, mapping, &self.secret.pseudonym_key(), from),
                |stored, rows, report| merge::reviews(stored, rows, report),
                |reviews, imports| signals_form::write_reviews(reviews, imports),
            )?,
            TableKind::Stock => replace.by(
                signals_form::read_stock,
                |from| read_stock(table, mapping, from),
                |stored, rows, report| {
                    let rows = rows.into_iter().map(|(line, row)| (line, row.product, row.date, row.day));
                    merge::by_day(stored, rows, report)
                },
                signals_form::write_stock,
            )?,
            TableKind::Occasions => replace.by(
                normal_form::read_holidays,
                |from| read_occasions(table, mapping, from),
                |stored, rows, report| {
                    let rows = rows.into_iter().map(|(line, row)| (line, row.date, row.name)).collect();
                    merge::keyed(stored, rows, "day", report)
                },
                normal_form::write_holidays,
            )?,
            TableKind::Vectors => replace.by(
                signals_form::read_vectors,
                |from| read_vectors(table, mapping, from),
                |stored, rows, report| {
                    let rows = rows.into_iter().map(|(line, row)| (line, row.product, row.vector)).collect();
                    merge::keyed(stored, rows, "product", report)
                },
                signals_form::write_vectors,
            )?,
        };
        file::write_sealed(&self.vault, &path, &bytes)?;
        Ok(report)
    }
}

/// The rows that are not too old; the others are counted.
fn kept<R>(
    rows: Vec<(u64, R)>,
    day: impl Fn(&R) -> Date,
    from: Option<Date>,
    report: &mut ImportReport,
) -> Vec<(u64, R)> {
    let Some(from) = from else { return rows };
    let before = rows.len();
    let rows: Vec<_> = rows.into_iter().filter(|(_, row)| day(row) >= from).collect();
    report.expired += (before - rows.len()) as u64;
    rows
}

/// A stored table about to be replaced by itself and what an import adds.
struct Replace<'a> {
    importer: &'a Importer,
    kind: TableKind,
    table: &'a Table,
    reading: String,
    again: bool,
    anew: bool,
}

impl Replace<'_> {
    /// Bytes of the new table, and the report. A query goes on where it stopped.
    fn by<T: Default, R>(
        self,
        read_stored: impl Fn(&[u8]) -> Result<Stored<T>, NormalFormError>,
        read: impl Fn(&ReadTo) -> Result<(Vec<(u64, R)>, ImportReport, ReadTo), IngestError>,
        merge: impl Fn(&T, Vec<(u64, R)>, &mut ImportReport) -> T,
        write: impl Fn(&T, &[Imported]) -> Vec<u8>,
    ) -> Result<(Vec<u8>, ImportReport), StoreError> {
        let (stored, mut imports) =
            if self.anew { Stored::default() } else { self.importer.read_table(self.kind, read_stored)? };
        let mut queries = imports.iter().filter(|import| import.reading == self.reading && import.mark.is_none());
        let last = queries.next_back().filter(|_| !self.again).and_then(|import| import.cursor.clone());
        let from = ReadTo { mark: None, cursor: last };
        let (rows, mut report, read_to) = read(&from)?;
        let merged = merge(&stored, rows, &mut report);
        refuse_if_unusable(&report, true)?;
        let cursor = read_to.or_cursor_of(&from).cursor;
        if cursor.is_some() {
            let import = Imported::now(self.table.name(), self.reading, ReadTo { mark: None, cursor }, 0);
            imports::remember(&mut imports, import, None);
        }
        Ok((write(&merged, &imports), report))
    }
}

/// Order lines that an import took in.
#[derive(Default)]
struct Taken {
    lines: u64,
    /// Of these, the lines before the last row; one row can be several lines.
    before_last: u64,
    last: u64,
}

impl Taken {
    fn one(&mut self, number: u64) {
        if number != self.last {
            (self.before_last, self.last) = (self.lines, number);
        }
        self.lines += 1;
    }

    /// Without a last row that may have been half of one, which the next import reads again.
    fn up_to(&self, mark: Option<&Mark>) -> u64 {
        if mark.is_some_and(|mark| self.last >= mark.line) { self.before_last } else { self.lines }
    }
}

/// A whole file without a single row of use was meant otherwise.
fn refuse_if_unusable(report: &ImportReport, is_whole: bool) -> Result<(), IngestError> {
    let Some(first) = report.rejected.first().filter(|_| is_whole && report.rejected_total == report.rows) else {
        return Ok(());
    };
    let reasons: Vec<String> = report.reasons.iter().map(|(code, count)| format!("{count} {code}")).collect();
    Err(IngestError::NothingUsable {
        file: report.file.clone(),
        table: report.table,
        rows: report.rows,
        reasons: reasons.join(", "),
        counted_in: report.counted_in,
        line: first.line,
        first: first.reason.clone(),
    })
}

/// The import that read most of this file, and how far.
fn last_of(table: &Table, imports: &[Imported]) -> Result<Option<(Imported, Mark)>, IngestError> {
    let marks: Vec<Mark> = imports.iter().filter_map(|import| import.mark).filter(|mark| mark.bytes > 0).collect();
    let Some(mark) = table.read_before(&marks)? else { return Ok(None) };
    Ok(imports.iter().rev().find(|import| import.mark == Some(mark)).map(|import| (import.clone(), mark)))
}

/// From where a table is to be read, as an earlier import read it in the same way.
fn read_before(table: &Table, earlier: &[Imported]) -> Result<ReadTo, IngestError> {
    let marks: Vec<Mark> = earlier.iter().filter_map(|import| import.mark).filter(|mark| mark.bytes > 0).collect();
    let cursor = earlier.iter().rev().find_map(|import| import.cursor.clone()).filter(|_| table.query().is_some());
    Ok(ReadTo { mark: table.read_before(&marks)?, cursor })
}

/// The secret of a data directory. A missing one is made only where no table could depend on it.
fn load_secret(dir: &Path, vault: &Vault) -> Result<DataSecret, StoreError> {
    let path = dir.join(SECRET_FILE);
    if let Some(bytes) = file::read_sealed(vault, &path)?.map(Zeroizing::new) {
        return DataSecret::from_bytes(&bytes).ok_or(StoreError::SecretDamaged { path });
    }
    if TableKind::ALL.iter().any(|kind| dir.join(format!("{}.{SEALED}", kind.name())).exists()) {
        return Err(StoreError::SecretMissing { path });
    }
    let secret = DataSecret::generate().ok_or(StoreError::NoEntropy)?;
    file::write_sealed(vault, &path, secret.as_bytes())?;
    Ok(secret)
}

/// Files that were written before they were sealed are not taken over in silence: copies of them may be anywhere.
fn refuse_what_is_in_the_clear(dir: &Path) -> Result<(), StoreError> {
    let tables = TableKind::ALL.iter().map(|kind| format!("{}.csv", kind.name()));
    let mut files = tables.chain([SECRET_IN_THE_CLEAR.to_owned()]).map(|name| dir.join(name));
    files.find(|path| path.exists()).map_or(Ok(()), |path| Err(StoreError::InTheClear { path }))
}
