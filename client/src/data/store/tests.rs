use std::{fs, path::PathBuf};

use jiff::civil::date;

use super::*;
use crate::data::{
    ingest::{IngestError, MappingOrigin},
    order::LineStatus,
    vault::{Vault, VaultError},
};

const HEADER: &str = "order_id,customer_id,product_id,ordered_at,quantity,unit_price,discount,returned,channel\n";
const FIRST: &str = "o1,alice@example.org,mug,2024-01-02 09:30:00,2,4.50,0.1,0,web\n\
                     o1,alice@example.org,\"saw, \"\"large\"\"\",2024-01-02 09:30:00,1,19.99,0,0,\n";
const SECOND: &str = "o2,,mug,2024-01-03,1,4.50,0,0,web\n";

struct Merchant {
    _dir: tempfile::TempDir,
    data: PathBuf,
    store: DataStore,
}

fn merchant() -> Merchant {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("state/data");
    let store = DataStore::open(&data).unwrap();
    Merchant { _dir: dir, data, store }
}

impl Merchant {
    fn orders(&self) -> PathBuf {
        self.data.join("orders.sealed")
    }

    /// What is sealed in the orders, as text.
    fn plain_orders(&self) -> String {
        let vault = Vault::open(&self.data).unwrap();
        String::from_utf8(vault.read(&self.orders()).unwrap().unwrap()).unwrap()
    }

    /// Puts another text in its place, sealed as it should be.
    fn seal_orders(&self, text: &str) {
        let vault = Vault::open(&self.data).unwrap();
        file::write_sealed(&vault, &self.orders(), text.as_bytes()).unwrap();
    }

    fn import(&mut self, text: &str) -> ImportReport {
        self.store.import_bytes("file.csv", text.as_bytes(), &ImportOptions::default()).unwrap()
    }
}

#[test]
fn what_was_imported_is_there_after_reopening() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{FIRST}"));
    merchant
        .import("product_id,title,list_price,listed_on,colour\nmug,\"Mug, \"\"red\"\"\",9.5,2024-01-01,red\nsaw,,,,\n");
    merchant.import(
        "product_id,date,price,promotion,coupon,in_stock,competitor_price,markdown\nmug,2024-01-05,8,1,0,,7.25,100\n",
    );
    merchant.import("date,name\n2024-12-25,Christmas\n");
    merchant.import("series_id,date,value\nair,2024-01-05,-3.25\n");
    let again = DataStore::open(&merchant.data).unwrap();
    assert_eq!(again.orders(), merchant.store.orders());
    assert_eq!(again.orders().len(), 2);
    assert_eq!(again.catalogue(), merchant.store.catalogue());
    assert_eq!(again.catalogue().products["mug"].attributes, [("colour".to_owned(), "red".to_owned())]);
    assert_eq!(again.catalogue().calendar["mug"][&date(2024, 1, 5)].competitor_price, Some(7.25));
    assert_eq!(again.catalogue().holidays[&date(2024, 12, 25)], "Christmas");
    assert_eq!(again.sales(), merchant.store.sales());
    assert_eq!(again.observed_period(), Period::new(date(2024, 1, 2), date(2024, 1, 5)));
}

#[test]
fn a_later_import_adds_to_what_is_there_and_knows_what_is_there_already() {
    let mut merchant = merchant();
    assert_eq!(merchant.import(&format!("{HEADER}{FIRST}")).imported, 2);
    // Not the same beginning, so that every row is looked at.
    let report = merchant.import(&format!("{HEADER}{SECOND}{FIRST}{SECOND}"));
    assert_eq!((report.imported, report.known, report.rejected_total, merchant.store.orders().len()), (1, 2, 1, 3));
    let reasons: Vec<_> = report.rejected.iter().map(|row| (row.line, row.reason.as_str())).collect();
    assert_eq!(reasons, [(5, "the same order line was already in this file")]);
}

fn line(order: u32) -> String {
    format!("o{order},c{},mug,2024-01-03,1,4.50,0,0,web\n", order % 3)
}

#[test]
fn a_file_imported_before_is_known_by_its_content_and_one_with_lines_added_brings_only_those() {
    let mut merchant = merchant();
    let first = format!("{HEADER}{}{}o9,,mug,soon,1,4.50,0,0,web\n", line(1), line(2));
    let report = merchant.import(&first);
    assert_eq!((report.imported, report.rejected_total, report.mapping), (2, 1, MappingOrigin::Guessed));
    let stored = fs::read(merchant.orders()).unwrap();
    let again = merchant.import(&first);
    assert!(again.imported_before.is_some() && again.rows == 0 && again.mapping == MappingOrigin::Given, "{again}");
    assert_eq!(fs::read(merchant.orders()).unwrap(), stored);
    let longer = format!("{first}{}{}", line(3), line(1));
    let report = merchant.import(&longer);
    assert_eq!((report.read_before, report.rows, report.imported, report.known), (4, 2, 1, 1), "{report}");
    assert!(report.to_string().contains("2 rows after 4 lines that an earlier import had read"), "{report}");
    let bad = merchant.import(&format!("{longer}o8,,mug,never,1,4.50,0,0,web\n"));
    assert_eq!((bad.rejected[0].line, bad.rows), (7, 1));
    // Read in another way, or on request, it is read whole.
    let options = ImportOptions { again: true, ..ImportOptions::default() };
    let whole = merchant.store.import_bytes("file.csv", first.as_bytes(), &options).unwrap();
    assert_eq!((whole.rows, whole.known, whole.rejected_total), (3, 2, 1));
    let text = fs::read_to_string(merchant.store.mapping_path()).unwrap();
    fs::write(merchant.store.mapping_path(), text.replace("\"iso\"", "\"iso\", \"%d.%m.%Y\"")).unwrap();
    assert_eq!((merchant.import(&first).rows, merchant.store.orders().len()), (3, 3));
}

#[test]
fn a_file_that_reads_otherwise_than_before_is_refused_before_its_lines_count_twice_and_can_be_brought_anew() {
    let mut merchant = merchant();
    let odd = "order_id,product_id,date,quantity,price,paid\no1,mug,2024-01-03,1,5,4\no2,mug,2024-01-03,1,5,5\n\
               o3,mug,soon,1,5,5\no4,saw,2024-01-04,1,9,9";
    assert_eq!(merchant.import(odd).imported, 3);
    let before = fs::read(merchant.orders()).unwrap();
    let edit = |merchant: &Merchant, from: &str, to: &str| {
        let text = fs::read_to_string(merchant.store.mapping_path()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(merchant.store.mapping_path(), text.replace(from, to)).unwrap();
    };
    edit(&merchant, "= \"price\"", "= \"paid\"");
    for again in [false, true] {
        // The last line has no end: an import of the same file may meet it changed.
        let options = ImportOptions { again, ..ImportOptions::default() };
        let error = merchant.store.import_bytes("odd.csv", odd.as_bytes(), &options).unwrap_err();
        assert!(matches!(&error, StoreError::ReadOtherwise { lines: 1, .. }), "{error}");
        assert!(error.to_string().contains("with --anew"), "{error}");
    }
    assert_eq!(fs::read(merchant.orders()).unwrap(), before);
    let options = ImportOptions { anew: [TableKind::Orders].into(), ..ImportOptions::default() };
    let report = merchant.store.import_bytes("odd.csv", odd.as_bytes(), &options).unwrap();
    assert_eq!((report.imported, merchant.store.orders().len()), (3, 3));
    assert_eq!(merchant.store.orders()[0].unit_price, Some(4.0));
    // A mapping that only reads more rows is no danger.
    edit(&merchant, "\"iso\"", "\"iso\", \"%d.%m.%Y\"");
    let longer = format!("{odd}\no5,saw,05.01.2024,1,9,9\n");
    let report = merchant.store.import_bytes("odd.csv", longer.as_bytes(), &ImportOptions::default()).unwrap();
    assert_eq!((report.imported, report.known, merchant.store.orders().len()), (1, 3, 4));
}

#[test]
fn tables_other_than_orders_are_brought_anew_too() {
    let mut merchant = merchant();
    merchant.import("product_id,title\nmug,Mug\nmgu,Typing error\n");
    merchant.import("date,name\n2024-12-25,Christmas\n");
    let options = ImportOptions { anew: [TableKind::Products].into(), ..ImportOptions::default() };
    merchant.store.import_bytes("products.csv", b"product_id,title\nmug,Mug\n", &options).unwrap();
    assert_eq!(merchant.store.catalogue().products.len(), 1);
    assert_eq!(merchant.store.catalogue().holidays.len(), 1);
}

#[test]
fn a_mapping_with_a_mistake_or_named_by_the_caller_is_not_passed_over_for_a_guess() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{FIRST}"));
    let path = merchant.store.mapping_path();
    let good = fs::read_to_string(&path).unwrap();
    let mut refused = |mapping: &str, options: &ImportOptions, expected: &str| {
        fs::write(&path, mapping).unwrap();
        let error = merchant.store.import_bytes("f.csv", format!("{HEADER}{SECOND}").as_bytes(), options);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&good.replace("\"iso\"", "\"dd.mm.yyyy\""), &ImportOptions::default(), "date format `dd.mm.yyyy`");
    refused(&good.replace("channel = ", "chanel = "), &ImportOptions::default(), "the field `chanel`");
    // A column that this file does not have can be right for another, unless the caller says that it is for this one.
    let misspelt = good.replace("channel = \"channel\"", "channel = \"Kanal\"");
    let named = ImportOptions { mapping_file: Some(path.clone()), ..ImportOptions::default() };
    refused(&misspelt, &named, "takes `channel` from the column `Kanal`");
    let report = merchant.import(&format!("{HEADER}{SECOND}"));
    assert_eq!((report.mapping, report.imported), (MappingOrigin::GuessedBeside, 1));
    assert!(report.unfit.is_some_and(|why| why.contains("`Kanal`")));
}

#[test]
fn the_same_columns_with_another_delimiter_are_the_same_table() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{}", line(1)));
    let report = merchant.import(&format!("{HEADER}{}", line(2)).replace(',', "\t"));
    assert_eq!((report.imported, report.mapping, report.unfit), (1, MappingOrigin::Given, None));
}

#[test]
fn a_file_of_which_nothing_can_be_used_is_refused_with_its_first_reason() {
    let mut merchant = merchant();
    let bad = format!("{HEADER}o1,c1,mug,2024-01-03,none,4.50,0,0,web\no2,c1,,2024-01-03,1,4.50,0,0,web\n");
    let error =
        merchant.store.import_bytes("f.csv", bad.as_bytes(), &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with("none of the 2 rows of f.csv could be used as orders"), "{error}");
    assert!(error.contains("1 missing-value, 1 number; the first, line 2: quantity `none` is no number"), "{error}");
    assert!(!merchant.store.mapping_path().exists() && !merchant.orders().exists());
    // Among lines that are good it is reported as ever.
    assert_eq!(merchant.import(&format!("{bad}{}", line(1))).rejected_total, 2);
}

#[test]
fn the_journal_says_in_numbers_what_became_of_every_file_that_is_in_the_tables() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{}o9,alice@example.org,mug,2024-01-03,none,4.50,0,0,web\n", line(1)));
    merchant.import("product_id,title\nmug,Mug\n");
    let entries = merchant.store.journal();
    assert_eq!(entries.iter().map(|entry| (entry.rows, entry.imported)).collect::<Vec<_>>(), [(2, 1), (1, 1)]);
    assert_eq!(entries[0].rejected, [("number".to_owned(), 1)].into());
    let options = ImportOptions { anew: [TableKind::Orders].into(), ..ImportOptions::default() };
    merchant.store.import_bytes("new.csv", format!("{HEADER}{}", line(2)).as_bytes(), &options).unwrap();
    let files: Vec<_> = merchant.store.journal().into_iter().map(|entry| entry.file).collect();
    assert_eq!(files, ["file.csv", "new.csv"]);
    fs::write(merchant.data.join("imports.sealed"), "half a li").unwrap();
    assert!(merchant.store.journal().is_empty());
}

#[test]
fn half_a_line_at_the_end_of_a_file_is_read_again_when_it_is_whole() {
    let mut merchant = merchant();
    let whole = format!("{HEADER}{}{}", line(1), line(23));
    let torn = whole.trim_end_matches("b\n").replace("o23,", "o2,");
    assert_eq!(merchant.import(&torn).imported, 2);
    let mended = format!("{torn}b\n{}", line(4));
    let report = merchant.import(&mended);
    assert_eq!((report.read_before, report.rows, report.imported, report.known), (2, 2, 1, 1), "{report}");
    // A quoted field over two lines is one row, torn or not.
    let quoted = format!("{HEADER}{}o5,,\"two\nlines\",2024-01-03,1,4.50,0,0,\"we", line(7));
    merchant.import(&quoted);
    let report = merchant.import(&format!("{quoted}b\"\n{}", line(6)));
    assert_eq!((report.read_before, report.rejected_total), (2, 0), "{report}");
    assert!(merchant.store.orders().iter().any(|order| order.product == "two\nlines"));
}

#[test]
fn a_file_packed_otherwise_is_the_same_file_and_one_that_was_rewritten_is_another() {
    let mut merchant = merchant();
    let text = format!("{HEADER}{}{}", line(1), line(2));
    merchant.import(&text);
    let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let report = merchant.store.import_bytes("file.csv.zst", &packed, &ImportOptions::default()).unwrap();
    assert!(report.imported_before.is_some(), "{report}");
    let rewritten = format!("{HEADER}{}{}{}", line(3), line(2), line(1));
    let report = merchant.import(&rewritten);
    assert_eq!((report.read_before, report.imported, report.known), (0, 1, 2));
}

#[test]
fn an_old_file_does_not_undo_what_changed_since() {
    let mut merchant = merchant();
    let sold = format!("{HEADER}{}{}", line(1), line(2));
    merchant.import(&sold);
    assert_eq!(merchant.import(&format!("{HEADER}{}", line(2).replace(",0,web", ",1,web"))).updated, 1);
    assert!(merchant.import(&sold).imported_before.is_some());
    let statuses: Vec<_> = merchant.store.orders().iter().map(|line| line.status).collect();
    assert_eq!(statuses, [LineStatus::Sold, LineStatus::Returned]);
    // A plan that is brought once more is a way back.
    for price in [8, 7, 8] {
        merchant.import(&format!("product_id,date,price\nmug,2024-01-05,{price}\n"));
    }
    assert_eq!(merchant.store.catalogue().calendar["mug"][&date(2024, 1, 5)].price, Some(8.0));
}

#[test]
fn what_is_known_of_files_goes_where_their_rows_go() {
    let mut merchant = merchant();
    let text = format!("{HEADER}{}{}", line(1), line(2));
    merchant.import(&text);
    let early = fs::read(merchant.orders()).unwrap();
    let longer = format!("{text}{}", line(3));
    merchant.import(&longer);
    // Restored from a backup, or deleted: the rows come back.
    fs::write(merchant.orders(), early).unwrap();
    assert_eq!((merchant.import(&longer).imported, merchant.store.orders().len()), (1, 3));
    fs::remove_file(merchant.orders()).unwrap();
    assert_eq!((merchant.import(&longer).imported, merchant.store.orders().len()), (3, 3));
}

#[test]
fn a_table_of_before_imports_were_remembered_is_read() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{}{}", line(1), line(2)));
    let stored = merchant.plain_orders();
    let rows: String =
        stored.lines().filter(|line| !line.starts_with("import,")).map(|line| format!("{line}\n")).collect();
    assert_ne!(rows, stored);
    merchant.seal_orders(&rows);
    let report = merchant.import(&format!("{HEADER}{}{}", line(1), line(2)));
    assert_eq!((report.known, report.imported, merchant.store.orders().len()), (2, 0, 2));
}

#[test]
fn what_a_crash_left_beside_the_table_is_never_read() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{}", line(1)));
    for ending in ["new", "changed"] {
        fs::write(merchant.data.join(format!("orders.sealed.{ending}")), "half a li").unwrap();
    }
    let changed = format!("{HEADER}{}{}", line(2), line(1).replace(",0,web", ",1,web"));
    let report = merchant.import(&changed);
    assert_eq!((report.imported, report.updated, merchant.store.orders().len()), (1, 1, 2));
    assert_eq!(merchant.store.orders()[0].status, LineStatus::Returned);
    let left: Vec<_> = fs::read_dir(&merchant.data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".changed")), "{left:?}");
}

#[test]
fn a_line_that_came_back_changes_its_status_only() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{SECOND}"));
    let report = merchant.import(&format!("{HEADER}{}", SECOND.replace(",0,0,web", ",0,1,web")));
    assert_eq!((report.updated, report.imported, report.rejected_total), (1, 0, 0));
    assert_eq!(merchant.store.orders()[0].status, LineStatus::Returned);
    assert_eq!(merchant.store.orders().len(), 1);
}

#[test]
fn the_same_row_of_two_customers_is_two_lines() {
    let mut merchant = merchant();
    let other = FIRST.replace("alice", "bob");
    assert_eq!(merchant.import(&format!("{HEADER}{FIRST}{other}")).imported, 4);
}

#[test]
fn a_plan_can_move_and_a_repeated_row_is_reported() {
    let mut merchant = merchant();
    merchant.import("product_id,date,price\nmug,2024-01-05,8\n");
    let report = merchant.import("product_id,date,price\nmug,2024-01-05,7\nmug,2024-01-05,6\nmug,2024-01-06,7\n");
    assert_eq!((report.imported, report.updated, report.rejected_total), (1, 1, 1));
    assert_eq!(merchant.store.catalogue().calendar["mug"][&date(2024, 1, 5)].price, Some(7.0));
    assert_eq!(merchant.import("product_id,date,price\nmug,2024-01-05,7\n").known, 1);
}

#[test]
fn the_raw_customer_id_is_nowhere_on_disk_and_its_pseudonym_is_stable() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{FIRST}"));
    let vault = Vault::open(&merchant.data).unwrap();
    for entry in fs::read_dir(&merchant.data).unwrap() {
        let path = entry.unwrap().path();
        let is_sealed = path.extension().is_some_and(|ending| ending == "sealed");
        // Nor is it in what is sealed.
        let bytes = if is_sealed { vault.read(&path).unwrap().unwrap() } else { fs::read(&path).unwrap() };
        assert!(!bytes.windows(5).any(|window| window == b"alice"), "{}", path.display());
    }
    let mut again = DataStore::open(&merchant.data).unwrap();
    again
        .import_bytes(
            "file.csv",
            format!("{HEADER}{}", FIRST.replace("o1", "o3")).as_bytes(),
            &ImportOptions::default(),
        )
        .unwrap();
    assert_eq!(again.orders()[0].customer, again.orders()[2].customer);
    assert!(again.orders()[0].customer.is_some());
}

#[test]
fn the_mapping_is_written_once_edited_by_hand_and_used_again() {
    let mut merchant = merchant();
    let odd = "Order,Article,When,How many,Price\n7,mug,03.02.2024,2,1.5\n";
    let error = merchant.store.import_bytes("odd.csv", odd.as_bytes(), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Ingest(IngestError::MissingColumns { .. })), "{error}");
    assert!(!merchant.store.mapping_path().exists());
    let text = "[orders]\ndate-formats = [\"%d.%m.%Y\"]\n[orders.columns]\norder_id = \"Order\"\n\
                product_id = \"Article\"\nordered_at = \"When\"\nquantity = \"How many\"\nunit_price = \"Price\"\n";
    fs::write(merchant.store.mapping_path(), text).unwrap();
    assert_eq!(merchant.import(odd).imported, 1);
    assert_eq!(merchant.store.orders()[0].at.date(), date(2024, 2, 3));
    assert_eq!(fs::read_to_string(merchant.store.mapping_path()).unwrap(), text);
    // A file in another form is guessed, and the merchant's mapping stays.
    let report = merchant.import(&format!("{HEADER}{FIRST}"));
    assert_eq!((report.imported, report.mapping), (2, MappingOrigin::GuessedBeside));
    // A mapping file of its own is written for it and then used.
    let other = merchant.data.join("other.toml");
    let options = ImportOptions { mapping_file: Some(other.clone()), ..ImportOptions::default() };
    for (order, origin) in [("o7", MappingOrigin::Guessed), ("o8", MappingOrigin::Given)] {
        let file = format!("{HEADER}{}", FIRST.replace("o1", order));
        let report = merchant.store.import_bytes("file.csv", file.as_bytes(), &options).unwrap();
        assert_eq!((report.imported, report.mapping), (2, origin));
    }
    assert!(fs::read_to_string(&other).unwrap().contains("ordered_at"));
    assert_eq!(fs::read_to_string(merchant.store.mapping_path()).unwrap(), text);
}

#[test]
fn a_mapping_with_a_wrong_column_is_named_where_nothing_else_fits() {
    let mut merchant = merchant();
    let text = "[sales.columns]\nseries_id = \"Shop\"\ndate = \"When\"\nvalue = \"Guest\"\n";
    fs::write(merchant.store.mapping_path(), text).unwrap();
    let file = b"Shop,When,Guests\na,2024-01-02,3\n";
    let error = merchant.store.import_bytes("odd.csv", file, &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("takes `value` from the column `Guest`"), "{error}");
}

#[test]
fn a_broken_mapping_file_is_named() {
    let mut merchant = merchant();
    fs::write(merchant.store.mapping_path(), "[orders\n").unwrap();
    let error = merchant.store.import_bytes("f.csv", HEADER.as_bytes(), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Mapping { .. }), "{error}");
}

#[test]
fn a_refused_file_changes_nothing() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{FIRST}"));
    let before = fs::read(merchant.orders()).unwrap();
    for bytes in [b"".as_slice(), b"PK\x03\x04", b"a,b\n1,2\n"] {
        assert!(merchant.store.import_bytes("bad", bytes, &ImportOptions::default()).is_err());
    }
    assert!(merchant.store.import_file(&merchant.data.join("absent.csv"), &ImportOptions::default()).is_err());
    assert_eq!(fs::read(merchant.orders()).unwrap(), before);
    assert_eq!(merchant.store.orders().len(), 2);
}

#[test]
fn two_imports_at_once_are_refused() {
    let mut merchant = merchant();
    let other = DataStore::open(&merchant.data).unwrap();
    let _held = other.importer.lock().unwrap();
    let error = merchant.store.import_bytes("f.csv", HEADER.as_bytes(), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
}

#[test]
fn lines_that_another_process_imported_are_kept() {
    let mut merchant = merchant();
    let mut other = DataStore::open(&merchant.data).unwrap();
    other.import_bytes("f.csv", format!("{HEADER}{FIRST}").as_bytes(), &ImportOptions::default()).unwrap();
    merchant.import(&format!("{HEADER}{SECOND}"));
    assert_eq!(merchant.store.orders().len(), 3);
}

#[test]
fn a_damaged_table_and_a_lost_or_damaged_secret_are_named() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{FIRST}"));
    let good = merchant.plain_orders();
    merchant.seal_orders(&good.replace("2024-01-02T", "2024-99-02T"));
    let Err(error) = DataStore::open(&merchant.data) else { panic!("a damaged table was accepted") };
    assert!(matches!(&error, StoreError::Damaged { source, .. } if source.line == 2), "{error}");
    merchant.seal_orders("something else\n");
    assert!(matches!(DataStore::open(&merchant.data), Err(StoreError::Damaged { .. })));
    merchant.seal_orders(&good);
    let secret = merchant.data.join("pseudonym.sealed");
    file::write_sealed(&Vault::open(&merchant.data).unwrap(), &secret, b"short").unwrap();
    assert!(matches!(DataStore::open(&merchant.data), Err(StoreError::SecretDamaged { .. })));
    fs::remove_file(&secret).unwrap();
    assert!(matches!(DataStore::open(&merchant.data), Err(StoreError::SecretMissing { .. })));
}

#[test]
fn a_line_dated_years_ahead_does_not_move_the_period() {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{FIRST}{SECOND}"));
    let period = merchant.store.observed_period();
    merchant.import(&format!("{HEADER}o99,alice,mug,2099-05-05,1,4.5,,,\n"));
    assert_eq!((merchant.store.observed_period(), merchant.store.dated_ahead()), (period, 1));
    // A shop whose clock is wrong throughout is forecast all the same.
    let mut ahead = self::merchant();
    ahead.import(&format!("{HEADER}o1,alice,mug,2099-05-05,1,4.5,,,\no2,alice,mug,2099-05-09,1,4.5,,,\n"));
    assert_eq!(ahead.store.observed_period(), Period::new(date(2099, 5, 5), date(2099, 5, 9)));
    assert_eq!(ahead.store.dated_ahead(), 0);
}

/// Every kind of table, and the journal, with something in it.
fn everything() -> Merchant {
    let mut merchant = merchant();
    merchant.import(&format!("{HEADER}{FIRST}{SECOND}"));
    merchant.import("product_id,title,colour\nmug,Mug of a secret kind,red\n");
    merchant.import("product_id,date,price\nmug,2024-01-05,8\n");
    merchant.import("date,name\n2024-12-25,Christmas\n");
    merchant.import("series_id,date,value\nair,2024-01-05,-3.25\n");
    merchant.import("event_time,event_type,product_id,user_id\n2024-01-02 10:00:00,view,mug,alice\n");
    merchant.import(
        "review_id,product_id,user_id,review_score,review_creation_date,comment\nr1,mug,alice,4,2024-01-05,a mug\n",
    );
    merchant.import("product_id,date,on_hand\nmug,2024-01-05,4.5\n");
    merchant.import("date,occasion\n2024-05-01,Christmas fair\n");
    merchant.import("product_id,vector\nmug,0.1 4.5\n");
    merchant
}

#[test]
fn nothing_that_was_imported_lies_on_the_disk_in_the_clear() {
    let merchant = everything();
    let mut seen = 0;
    for entry in fs::read_dir(&merchant.data).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for word in ["alice", "4.5", "mug", "Christmas", "secret kind", "2024-01-0", "file.csv", "air,"] {
            let found = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(!found, "`{word}` is in {}", path.display());
        }
        seen += 1;
    }
    // Ten tables, the journal, the secret, the key, the mapping, the lock.
    assert_eq!(seen, TableKind::ALL.len() + 5);
    let kinds = TableKind::ALL.map(|kind| merchant.store.importer.table_path(kind));
    assert!(kinds.iter().all(|path| path.exists()));
}

#[test]
fn every_table_says_by_name_that_it_was_altered_cut_off_swapped_or_of_another_key() {
    let merchant = everything();
    let other = everything();
    for kind in TableKind::ALL {
        let path = merchant.store.importer.table_path(kind);
        let good = fs::read(&path).unwrap();
        let refused = |bytes: &[u8], is_expected: fn(&VaultError) -> bool| {
            fs::write(&path, bytes).unwrap();
            let Err(error) = DataStore::open(&merchant.data) else { panic!("{kind} was accepted") };
            assert!(error.to_string().contains(&format!("{kind}.sealed")), "{error}");
            assert!(matches!(&error, StoreError::Vault(error) if is_expected(error)), "{error}");
        };
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        refused(&flipped, |error| matches!(error, VaultError::Altered { .. }));
        refused(&good[..good.len() - 1], |error| matches!(error, VaultError::CutOff { .. }));
        let neighbour = if kind == TableKind::Orders { TableKind::Sales } else { TableKind::Orders };
        let swapped = fs::read(merchant.store.importer.table_path(neighbour)).unwrap();
        refused(&swapped, |error| matches!(error, VaultError::OtherFile { .. }));
        let foreign = fs::read(other.store.importer.table_path(kind)).unwrap();
        refused(&foreign, |error| matches!(error, VaultError::OtherKey { .. }));
        fs::write(&path, good).unwrap();
        assert!(DataStore::open(&merchant.data).is_ok());
    }
}

#[test]
fn tables_without_their_key_and_tables_in_the_clear_are_refused() {
    let merchant = everything();
    fs::remove_file(merchant.data.join("data.key")).unwrap();
    let Err(error) = DataStore::open(&merchant.data) else { panic!("tables opened without their key") };
    assert!(matches!(error, StoreError::Vault(VaultError::KeyMissing { .. })), "{error}");
    let merchant = self::merchant();
    fs::write(merchant.data.join("orders.csv"), "forecastle-1,order\n").unwrap();
    let Err(error) = DataStore::open(&merchant.data) else { panic!("a table in the clear was accepted") };
    assert!(error.to_string().contains("orders.csv is not encrypted"), "{error}");
}

const LOG: &str = "event_time,event_type,product_id,user_id\n";

#[test]
fn events_count_once_however_often_and_in_whatever_pieces_they_are_imported() {
    let mut merchant = merchant();
    let first =
        "2024-01-02 10:00:00,view,mug,alice\n2024-01-02 10:00:00,view,mug,alice\n2024-01-02 10:05:00,cart,mug,\n";
    let second = "2024-01-03 09:00:00,view,saw,bob\n";
    let report = merchant.import(&format!("{LOG}{first}"));
    assert_eq!((report.table, report.imported, report.rejected_total), (TableKind::Events, 3, 0));
    let report = merchant.import(&format!("{LOG}{first}{second}"));
    assert_eq!((report.imported, report.known, report.updated), (1, 3, 0));
    let counts: Vec<f64> = merchant.store.signals().events.iter().map(|event| event.count).collect();
    assert_eq!(counts, [2.0, 1.0, 1.0]);
    // Counts of a day replace each other, and the same row twice is a mistake.
    let days = "product_id,date,views\nmug,2024-02-01,10\nmug,2024-02-01,11\n";
    let report = merchant.import(days);
    assert_eq!((report.imported, report.rejected[0].line, report.rejected[0].code), (1, 3, "duplicate"));
    let report = merchant.import("product_id,date,views\nmug,2024-02-01,12\n");
    assert_eq!((report.imported, report.updated), (0, 1));
    let again = DataStore::open(&merchant.data).unwrap();
    assert_eq!(again.signals(), merchant.store.signals());
    assert_eq!(again.signals().events.last().unwrap().count, 12.0);
    // No raw customer number is in what is sealed.
    let vault = Vault::open(&merchant.data).unwrap();
    for path in fs::read_dir(&merchant.data).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|ending| ending == "sealed") {
            let bytes = vault.read(&path).unwrap().unwrap();
            assert!(!bytes.windows(5).any(|word| word == b"alice"));
        }
    }
}

#[test]
fn reviews_stock_events_of_the_merchant_and_vectors_are_there_after_reopening() {
    let mut merchant = merchant();
    merchant.import("review_id,order_id,user_id,review_score,review_creation_date,comment\nr1,o1,alice,4,2024-01-05,\"fine, \n\"\"so\"\"\"\n");
    merchant.import("product_id,date,on_hand,in_stock\nmug,2024-01-05,0.5,\nmug,2024-01-06,,no\n");
    merchant.import("date,occasion\n2024-05-01,fair\n");
    merchant.import("product_id,vector\nmug,0.1 -2 1e-9\n");
    merchant.import("product_id,date,price,promo_type\nmug,2024-01-05,8,bundle\n");
    let again = DataStore::open(&merchant.data).unwrap();
    assert_eq!(again.signals(), merchant.store.signals());
    assert_eq!(again.catalogue(), merchant.store.catalogue());
    let signals = again.signals();
    assert_eq!((signals.reviews.len(), signals.reviews[0].score), (1, Some(0.8)));
    assert!(signals.stock["mug"][&date(2024, 1, 6)].is_out() && !signals.stock["mug"][&date(2024, 1, 5)].is_out());
    assert_eq!(signals.occasions[&date(2024, 5, 1)], "fair");
    assert_eq!(signals.vectors["mug"], [0.1, -2.0, 1e-9]);
    assert_eq!(again.catalogue().calendar["mug"][&date(2024, 1, 5)].promotion_type.as_deref(), Some("bundle"));
    // The secret behind the pseudonyms of events and reviews is not made anew.
    fs::remove_file(merchant.data.join("pseudonym.sealed")).unwrap();
    assert!(matches!(DataStore::open(&merchant.data), Err(StoreError::SecretMissing { .. })));
}
