//! What imports did, as one file to keep: HTML to read and print, or JSON.
//!
//! Rows are told by file, line and reason; no value of a row is in it, whatever it is, because what stands in a column that
//! was taken for another may be a customer's. Left out: what is in the tables afterwards (see [`super::check`]).

mod page;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    ingest::{ImportReport, IngestError, MappingOrigin, TableKind},
    store::StoreError,
};

pub use page::render;

/// Lines that are listed of one reason.
const LINES_LISTED: usize = 40;

/// What one command imported.
#[derive(Clone, Debug, Serialize)]
pub struct Imports {
    /// Version of this form.
    pub version: u8,
    /// Day, in UTC.
    pub day: String,
    /// Where mappings lie.
    pub mapping_file: String,
    /// Each file or query.
    pub files: Vec<FileImport>,
    /// Why the command stopped, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// What became of one file.
#[derive(Clone, Debug, Serialize)]
pub struct FileImport {
    /// Its name.
    pub file: String,
    /// What it was read as.
    pub table: TableKind,
    /// Rows read.
    pub rows: u64,
    /// Rows that are new.
    pub new: u64,
    /// Rows that changed something.
    pub changed: u64,
    /// Rows that were there already.
    pub known: u64,
    /// Events of other kinds, passed over.
    pub other_events: u64,
    /// Rows of customers that were erased, left out.
    pub erased: u64,
    /// Rows older than the table's period, left out.
    pub too_old: u64,
    /// Stored rows that have become older than that, removed.
    pub too_old_removed: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// The same by reason.
    pub reasons: Vec<Reason>,
    /// Lines at the beginning that an earlier import had read.
    pub read_before: u64,
    /// When this very content was imported before.
    pub imported_before: Option<String>,
    /// Field by column.
    pub columns: BTreeMap<String, String>,
    /// Fields with one value in every row.
    pub constants: BTreeMap<String, String>,
    /// How the file is written.
    pub written: BTreeMap<&'static str, String>,
    /// Columns that nothing was read from.
    pub unused: Vec<String>,
    /// Where the mapping comes from.
    pub mapping: MappingOrigin,
    /// What a person should look at or do.
    pub to_do: Vec<String>,
    /// What rows are counted in.
    pub counted_in: &'static str,
}

/// Rows that were rejected for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// Its short name.
    pub code: &'static str,
    /// In words.
    pub what: String,
    /// Columns of the file that it is about.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: u64,
    /// Lines of the first of them.
    pub lines: Vec<u64>,
    /// What to do.
    pub to_do: &'static str,
}

impl Imports {
    /// Of reports, in order.
    pub fn new(reports: &[ImportReport], mapping_file: String, stopped: Option<&StoreError>) -> Self {
        let today = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date();
        let files = reports.iter().map(|report| FileImport::of(report, &mapping_file)).collect();
        Self { version: 1, day: today.to_string(), mapping_file, files, stopped: stopped.map(why_stopped) }
    }

    /// In one sentence.
    pub fn verdict(&self) -> String {
        let sum = |of: fn(&FileImport) -> u64| self.files.iter().map(of).sum::<u64>();
        let (rows, rejected) = (sum(|file| file.rows), sum(|file| file.rejected));
        let (new, changed, known) = (sum(|file| file.new), sum(|file| file.changed), sum(|file| file.known));
        let left_out = match (rows, rejected) {
            (0, _) => "There was nothing new to read".to_owned(),
            (_, 0) => format!("None of {rows} rows was rejected"),
            _ => format!("{rejected} of {rows} rows were rejected"),
        };
        format!("{left_out}: {new} are new, {changed} changed something, {known} were known.")
    }
}

impl FileImport {
    fn of(report: &ImportReport, mapping_file: &str) -> Self {
        let reason = |(code, rows): (&&'static str, &u64)| {
            let listed: Vec<_> = report.rejected.iter().filter(|row| row.code == *code).collect();
            let mut columns: Vec<String> = listed.iter().filter_map(|row| row.column.clone()).collect();
            columns.sort();
            columns.dedup();
            let mut what: Vec<&str> = listed.iter().map(|row| row.kept_reason.as_str()).collect();
            what.sort_unstable();
            what.dedup();
            let what = if what.is_empty() { (*code).to_owned() } else { what.join("; ") };
            let lines = listed.iter().map(|row| row.line).take(LINES_LISTED).collect();
            Reason { code, what, columns, rows: *rows, lines, to_do: to_do(code) }
        };
        Self {
            file: report.file.clone(),
            table: report.table,
            rows: report.rows,
            new: report.imported,
            changed: report.updated,
            known: report.known,
            other_events: report.other_events,
            erased: report.erased,
            too_old: report.expired,
            too_old_removed: report.expired_stored,
            rejected: report.rejected_total,
            reasons: report.reasons.iter().map(reason).collect(),
            read_before: report.read_before,
            imported_before: report.imported_before.clone(),
            columns: report.columns.clone(),
            constants: report.constants.clone(),
            written: report.written.clone(),
            unused: report.unused.clone(),
            mapping: report.mapping,
            to_do: to_look_at(report, mapping_file),
            counted_in: report.counted_in,
        }
    }
}

/// An error without what it shows of rows: examples, a first row, what a database answered.
fn why_stopped(error: &StoreError) -> String {
    let StoreError::Ingest(error) = error else { return error.to_string() };
    let why = match error {
        IngestError::NothingUsable { file, table, rows, reasons, .. } => {
            format!("none of the {rows} rows of {file} could be used as {table} ({reasons})")
        }
        IngestError::NoHeader { file, .. } => format!("the first row of {file} is no header"),
        IngestError::UnknownTable { file, .. } => format!("the columns of {file} fit no table"),
        IngestError::MissingColumns { file, table, missing, .. } => {
            format!("{file} as {table} has no column for {}", missing.join(", "))
        }
        IngestError::AmbiguousDates { file, column, .. } => {
            format!("in {file}, column {column}, day and month cannot be told apart")
        }
        IngestError::UnknownDates { file, column, .. } => {
            format!("in {file}, column {column}, dates are written in no known way")
        }
        IngestError::SeveralRows { file, by, .. } => format!("{file} has several rows of one {by}"),
        IngestError::Query { database, .. } => format!("{database} does not answer the query"),
        IngestError::Empty { .. }
        | IngestError::NotATable { .. }
        | IngestError::TooLarge { .. }
        | IngestError::Unpack { .. }
        | IngestError::Parquet { .. }
        | IngestError::Unreadable { .. }
        | IngestError::DatabaseAddress { .. }
        | IngestError::Database { .. }
        | IngestError::Changed { .. }
        | IngestError::NothingInCommon { .. }
        | IngestError::Mapping { .. }
        | IngestError::UnknownEncoding { .. } => return error.to_string(),
    };
    format!("{why}; what the command printed says more")
}

/// What a person should do about rejected rows.
fn to_do(code: &str) -> &'static str {
    match code {
        "field-count" | "quote" => {
            "a text with the delimiter, a quote or a line break in it was exported without quotes; export the file anew"
        }
        "encoding" => "name the file's encoding, such as --encoding windows-1252",
        "missing-value" => "complete these rows in the shop, or name the right column with --column FIELD=NAME",
        "too-long" => "another column was meant, or a quote is missing; look at these rows",
        "date" => "say how days are written with --date-format, or correct these rows",
        "number" | "out-of-range" => "correct these rows, or name the right column with --column FIELD=NAME",
        "negative-price" => "write what comes back as a negative quantity, or mark it as returned",
        "zero-quantity" => "nothing, where these rows are no sales; otherwise name the right column of the quantity",
        "flag" => "write yes or no, 1 or 0",
        "duplicate" => {
            "nothing, where a line was exported twice; two equal lines that are both meant need a line number"
        }
        "json" => "export the file anew; each line is to be one JSON object",
        _ => "look at these rows",
    }
}

/// What else is to be looked at.
fn to_look_at(report: &ImportReport, mapping_file: &str) -> Vec<String> {
    let (table, mut list) = (report.table, Vec::new());
    match report.mapping {
        MappingOrigin::Given => {}
        MappingOrigin::Guessed => {
            list.push(format!("The columns were guessed: see whether each is what it was taken for; [{table}] in {mapping_file} corrects it."));
        }
        MappingOrigin::GuessedBeside => {
            let why = report.unfit.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            list.push(format!("The stored mapping does not fit this file, so its columns were guessed{why}. --mapping OTHER.toml keeps a mapping of its own for such files."));
        }
    }
    let again = if table == TableKind::Orders { "--anew" } else { "--again" };
    for (field, column) in &report.unread {
        list.push(format!(
            "The column {column} looks like {field}, which the stored mapping does not have, so it was not read. To take it, add {field} = \"{column}\" \
             under [{table}.columns] in {mapping_file} and import the file again with {again}."
        ));
    }
    if report.currencies.len() > 1 {
        let met: Vec<_> = report.currencies.keys().cloned().collect();
        list.push(format!(
            "Several currencies were met ({}), and amounts are taken as they are: keep one in a file.",
            met.join(", ")
        ));
    }
    if report.kept_from.is_some() && report.imported == 0 && report.expired > 0 {
        list.push(
            "Nothing of this file is young enough to be kept: see retention.toml, in the folder of the mapping."
                .to_owned(),
        );
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        ingest::Input,
        store::{ImportOptions, Importer},
    };

    fn imports() -> Imports {
        let dir = tempfile::tempdir().unwrap();
        let importer = Importer::open(dir.path()).unwrap();
        let import = |name: &str, text: &str| {
            importer.import(&Input::bytes(name, text.as_bytes()), &ImportOptions::default()).unwrap()
        };
        // An address that was not quoted moved a customer's name to where a number is expected.
        let orders = "order_id,customer_id,product_id,ordered_at,quantity,unit_price\no1,c1,mug,2024-01-02,2,4.5\n\
                      o2,Baker,Alice,mug,2024-01-03,1\no3,c2,mug,2024-01-04,Alice Baker,4.5\no4,c2,mug,never,1,4.5\n\
                      o1,c1,mug,2024-01-02,2,4.5\n";
        let first = import("orders.csv", orders);
        import("products.csv", "product_id,title\nmug,Mug\n");
        let later = import("later.csv", "product_id,title,listed_on\nsaw,Saw,2024-05-01\n");
        Imports::new(&[first, later], "mapping.toml".into(), None)
    }

    #[test]
    fn rejected_rows_are_told_by_reason_and_line_and_no_value_of_a_row_is_kept() {
        let imports = imports();
        let reasons: Vec<_> = imports.files[0].reasons.iter().map(|one| (one.code, one.rows, &one.lines[..])).collect();
        assert_eq!(reasons, [("date", 2, &[3, 5][..]), ("duplicate", 1, &[6][..]), ("number", 1, &[4][..])]);
        assert_eq!(imports.files[0].reasons[2].what, "quantity is no number");
        let json = serde_json::to_string(&imports).unwrap();
        let page = render(&imports, "forecastle data import orders.csv").unwrap();
        for text in [&json, &page] {
            assert!(!text.contains("Alice") && !text.contains("never"), "{text}");
            assert!(text.contains("orders.csv") && text.contains("quantity is no number"));
        }
        assert!(page.contains("4 of 6 rows were rejected: 2 are new, 0 changed something, 0 were known."));
        assert!(!page.contains("<script"));
    }

    #[test]
    fn an_error_is_told_without_what_it_shows_of_rows() {
        let dir = tempfile::tempdir().unwrap();
        let importer = Importer::open(dir.path()).unwrap();
        for text in [
            "order_id,customer_id,product_id,ordered_at,quantity\no1,c1,mug,2024-01-02,Alice\n",
            "order_id,customer_id,product_id,ordered_at,quantity\no1,c1,mug,Alice,1\n",
            "1,Alice,2024-01-02\n2,Alice,2024-01-02\n",
            "name,Alice\nx,Alice\n",
        ] {
            let error =
                importer.import(&Input::bytes("a.csv", text.as_bytes()), &ImportOptions::default()).unwrap_err();
            assert!(error.to_string().contains("Alice"), "{error}");
            let imports = Imports::new(&[], "mapping.toml".into(), Some(&error));
            let stopped = imports.stopped.unwrap();
            assert!(!stopped.contains("Alice") && stopped.contains("a.csv"), "{stopped}");
        }
    }

    #[test]
    fn a_column_that_the_stored_mapping_does_not_read_is_named_with_how_to_take_it() {
        let imports = imports();
        let to_do = imports.files[1].to_do.join("\n");
        assert!(to_do.contains("listed_on = \"listed_on\"") && to_do.contains("--again"), "{to_do}");
        assert!(imports.files[0].to_do.iter().all(|text| !text.contains("not read")));
    }
}
