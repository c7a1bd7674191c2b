//! Erasure, export, retention and rotation over whole stores.

use std::{collections::BTreeMap, fs, path::Path};

use super::*;
use crate::data::vault::Vault;

const HEADER: &str = "order_id,customer_id,product_id,ordered_at,quantity,unit_price\n";

struct Shop {
    dir: tempfile::TempDir,
}

/// Two customers and a sale without one, six lines.
const LINES: &str = "o1,alice,mug,2024-01-02,2,4.5\no1,alice,saw,2024-01-02,1,9\no2,bob,mug,2024-01-03,1,4.5\n\
                     o3,,mug,2024-01-04,1,4.5\no4,alice,mug,2024-02-01,1,4.5\no5,bob,saw,2024-02-02,1,9\n";

fn shop() -> Shop {
    let shop = Shop { dir: tempfile::tempdir().unwrap() };
    shop.import(LINES);
    shop
}

impl Shop {
    fn store(&self) -> DataStore {
        DataStore::open(self.dir.path()).unwrap()
    }

    fn importer(&self) -> Importer {
        Importer::open(self.dir.path()).unwrap()
    }

    fn import_with(&self, lines: &str, options: &ImportOptions) -> ImportReport {
        self.importer().import(&Input::bytes("orders.csv", format!("{HEADER}{lines}").as_bytes()), options).unwrap()
    }

    fn import(&self, lines: &str) -> ImportReport {
        self.import_with(lines, &ImportOptions::default())
    }

    fn erase(&self, customer: &str, scope: Scope) -> Erased {
        let importer = self.importer();
        importer.erase(importer.pseudonym(customer), scope).unwrap()
    }

    fn products_of(&self, customer: &str) -> Vec<String> {
        let store = self.store();
        let customer = store.importer().pseudonym(customer);
        store.orders().iter().filter(|line| line.customer == Some(customer)).map(|line| line.product.clone()).collect()
    }

    /// Everything that is sealed in the folder, opened.
    fn opened(&self) -> BTreeMap<String, Vec<u8>> {
        let vault = Vault::open(self.dir.path()).unwrap();
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let sealed = files.filter(|path| path.extension().is_some_and(|ending| ending == "sealed"));
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        sealed.map(|path| (name(&path), vault.read(&path).unwrap().unwrap())).collect()
    }

    fn retain(&self, text: &str) {
        fs::write(self.importer().retention_path(), text).unwrap();
    }
}

fn again() -> ImportOptions {
    ImportOptions { again: true, ..ImportOptions::default() }
}

fn anew() -> ImportOptions {
    ImportOptions { anew: [TableKind::Orders].into(), ..ImportOptions::default() }
}

#[test]
fn an_erased_customer_is_in_no_file_but_as_a_pseudonym_in_the_record() {
    let shop = shop();
    let pseudonym = shop.importer().pseudonym("alice").to_string();
    let held = |shop: &Shop| -> Vec<String> {
        let holds = |bytes: &[u8]| bytes.windows(32).any(|part| part == pseudonym.as_bytes());
        shop.opened().into_iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
    };
    assert_eq!(held(&shop), ["orders.sealed"]);
    for name in ["orders.sealed.changed", "sales.sealed.new"] {
        fs::write(shop.dir.path().join(name), "left by a crash").unwrap();
    }
    let erased = shop.erase("alice", Scope::UpToToday);
    assert_eq!((erased.rows, erased.is_new), ([(TableKind::Orders, 3)].into(), true));
    assert_eq!(held(&shop), ["erasures.sealed"]);
    assert!(["orders.sealed.changed", "sales.sealed.new"].iter().all(|name| !shop.dir.path().join(name).exists()));
    // Nobody else lost a line, and the imports are still known.
    let store = shop.store();
    assert_eq!((store.orders().len(), shop.products_of("bob")), (3, vec!["mug".into(), "saw".into()]));
    assert!(shop.import(LINES).imported_before.is_some());
    let list = store.importer().erasure_list().unwrap();
    assert_eq!((list.len(), &list[0].pseudonym, list[0].is_finished), (1, &pseudonym, true));
    assert_eq!(list[0].rows, [(TableKind::Orders, 3)].into());
}

#[test]
fn an_erasure_reaches_what_a_customer_looked_at_and_wrote() {
    let shop = shop();
    let events = "event_time,event_type,product_id,user_id\n2024-01-02 10:00:00,view,mug,alice\n\
                  2024-01-02 11:00:00,cart,mug,alice\n2024-01-03 09:00:00,view,saw,bob\n";
    // A review may name nobody, and yet one of the customer's orders.
    let reviews = "review_id,order_id,user_id,review_score,review_creation_date\n\
                   r1,o1,alice,4,2024-01-05\nr2,o4,,5,2024-02-05\nr3,o2,bob,3,2024-01-06\n";
    let import = |text: &str| {
        shop.importer().import(&Input::bytes("file.csv", text.as_bytes()), &ImportOptions::default()).unwrap()
    };
    assert_eq!((import(events).table, import(reviews).table), (TableKind::Events, TableKind::Reviews));
    let mut exported = Vec::new();
    let importer = shop.importer();
    let alice = importer.pseudonym("alice");
    let held = importer.export_customer(alice, TableKind::Reviews, &mut exported, Path::new("held.csv")).unwrap();
    assert_eq!(held, 2, "{}", String::from_utf8_lossy(&exported));
    drop(importer);
    let erased = shop.erase("alice", Scope::UpToToday);
    assert_eq!(erased.rows, [(TableKind::Orders, 3), (TableKind::Events, 2), (TableKind::Reviews, 2)].into());
    let left = |shop: &Shop| {
        let store = shop.store();
        let signals = store.signals();
        let reviews = signals.reviews.iter().map(|review| review.id.clone()).collect::<Vec<_>>();
        (signals.events.len(), reviews)
    };
    assert_eq!(left(&shop), (1, vec!["r3".to_owned()]));
    // Nor do the same files bring them back.
    import(events);
    import(reviews);
    assert_eq!(left(&shop), (1, vec!["r3".to_owned()]));
}

#[test]
fn importing_the_same_files_again_does_not_bring_an_erased_customer_back() {
    let shop = shop();
    shop.erase("alice", Scope::UpToToday);
    for options in [again(), anew()] {
        let report = shop.import_with(LINES, &options);
        assert_eq!((report.erased, shop.products_of("alice").len()), (3, 0), "{report}");
        assert!(report.to_string().contains("3 left out: of customers that were erased"), "{report}");
        assert_eq!(shop.store().orders().len(), 3);
    }
    // The same lines in another file, and under another mapping: no mistake of counting follows.
    assert_eq!(shop.import(&format!("o9,bob,mug,2024-03-01,1,4.5\n{LINES}")).erased, 3);
    let path = shop.importer().mapping_path();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"iso\"", "\"iso\", \"%d.%m.%Y\"")).unwrap();
    assert_eq!((shop.import(LINES).erased, shop.products_of("alice").len()), (3, 0));
}

#[test]
fn what_an_erased_customer_orders_later_is_taken_unless_it_was_for_good() {
    let shop = shop();
    shop.erase("alice", Scope::UpToToday);
    shop.erase("bob", Scope::ForGood);
    let later = "o8,alice,mug,2099-01-01,1,4.5\no9,bob,mug,2099-01-01,1,4.5\n";
    assert_eq!(
        (shop.import(later).imported, shop.products_of("alice").len(), shop.products_of("bob").len()),
        (1, 1, 0)
    );
    // A line of a day to come goes too when it is there, and does not come back.
    let erased = shop.erase("alice", Scope::UpToToday);
    assert_eq!((erased.rows[&TableKind::Orders], erased.until.as_deref()), (1, Some("2099-01-01")));
    assert_eq!((shop.import_with(later, &again()).erased, shop.products_of("alice").len()), (2, 0));
    // For good stays for good.
    shop.erase("bob", Scope::UpToToday);
    assert_eq!(shop.import("o10,bob,saw,2099-02-01,1,9\n").erased, 1);
}

#[test]
fn erasing_twice_changes_nothing_and_an_unknown_customer_leaves_no_trace() {
    let shop = shop();
    assert!(shop.erase("alice", Scope::UpToToday).is_new);
    let before = shop.opened();
    let twice = shop.erase("alice", Scope::UpToToday);
    assert!(!twice.is_new && twice.erased_before.is_some());
    let unknown = shop.erase("carol", Scope::UpToToday);
    assert!(!unknown.is_new && unknown.erased_before.is_none() && unknown.rows.values().all(|count| *count == 0));
    assert_eq!(shop.opened(), before);
    assert_eq!(shop.importer().erasure_list().unwrap().len(), 1);
}

#[test]
fn an_erasure_is_forgotten_on_request() {
    let shop = shop();
    shop.erase("alice", Scope::UpToToday);
    let importer = shop.importer();
    assert!(importer.forget_erasure(importer.pseudonym("alice")).unwrap());
    assert!(!importer.forget_erasure(importer.pseudonym("alice")).unwrap());
    assert_eq!((shop.import_with(LINES, &again()).imported, shop.products_of("alice").len()), (3, 3));
    let list = shop.importer().erasure_list().unwrap();
    assert!(list.len() == 1 && list[0].forgotten.is_some());
}

#[test]
fn an_erasure_that_was_interrupted_is_finished_before_anything_is_read() {
    let shop = shop();
    let importer = shop.importer();
    let alice = importer.pseudonym("alice");
    // As after a crash between the first step and the rewriting of the table.
    let until = Some(jiff::civil::date(2024, 12, 31));
    importer.erasures().unwrap().begin(&importer.vault, &importer.dir, alice, until, Vec::new()).unwrap();
    drop(importer);
    assert!(shop.products_of("alice").is_empty());
    let list = shop.importer().erasure_list().unwrap();
    assert_eq!((list.len(), list[0].is_finished, list[0].rows[&TableKind::Orders]), (1, true, 3));
    // And one between the table and the last step.
    let shop = self::shop();
    let importer = shop.importer();
    let alice = importer.pseudonym("alice");
    importer.erasures().unwrap().begin(&importer.vault, &importer.dir, alice, until, Vec::new()).unwrap();
    let path = importer.table_path(TableKind::Orders);
    rows::remove(&importer.vault, &path, |row| row.customer() == Some(alice)).unwrap();
    drop(importer);
    assert_eq!(shop.store().orders().len(), 3);
    assert!(shop.importer().erasure_list().unwrap()[0].is_finished);
}

#[test]
fn an_erasure_that_cannot_be_written_changes_nothing() {
    let shop = shop();
    let before = shop.opened();
    // Where the record would be written beside, something is in the way.
    fs::create_dir(shop.dir.path().join("erasures.sealed.new")).unwrap();
    let importer = shop.importer();
    assert!(importer.erase(importer.pseudonym("alice"), Scope::UpToToday).is_err());
    assert_eq!(shop.opened(), before);
}

#[test]
fn a_record_of_erasures_that_does_not_open_stops_every_import() {
    let shop = shop();
    shop.erase("alice", Scope::UpToToday);
    let path = shop.dir.path().join("erasures.sealed");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let Err(error) = Importer::open(shop.dir.path()) else { panic!("the record was passed over") };
    assert!(error.to_string().contains("erasures.sealed"), "{error}");
}

#[test]
fn rows_of_other_tables_that_name_a_customer_or_only_the_order_go_too() {
    let shop = shop();
    let importer = shop.importer();
    let (alice, bob) = (importer.pseudonym("alice"), importer.pseudonym("bob"));
    // Rows of a table as a later kind of table may have them, in the place of one that is there.
    let path = importer.table_path(TableKind::Sales);
    let header = "forecastle-1,id,product,order,customer,at\n";
    let others =
        format!(",r3,mug,,{bob},2024-01-05T00:00:00\n,r4,,o2,,2024-01-05T00:00:00\n,r5,saw,,,2024-01-05T00:00:00\n");
    let hers = format!(",r1,mug,,{alice},2024-01-05T00:00:00\n,r2,,o4,,2024-01-05T00:00:00\n");
    let whole = format!("{header}{hers}{others}");
    file::write_sealed(&importer.vault, &path, whole.as_bytes()).unwrap();
    assert_eq!(importer.rows_of(alice).unwrap(), [(TableKind::Orders, 3), (TableKind::Sales, 2)].into());
    let (count, text) = csv(|to| importer.export_customer(alice, TableKind::Sales, to, Path::new("out")));
    assert_eq!(count, 2);
    assert!(
        text.starts_with("id,product_id,order_id,customer_pseudonym,ordered_at\nr1,mug,") && text.contains("r2,,o4,"),
        "{text}"
    );
    let erased = importer.erase(alice, Scope::UpToToday).unwrap();
    assert_eq!(erased.rows, [(TableKind::Orders, 3), (TableKind::Sales, 2)].into());
    let left = |importer: &Importer| String::from_utf8(importer.vault.read(&path).unwrap().unwrap()).unwrap();
    assert_eq!(left(&importer), format!("{header}{others}"));
    // When they come in again, nothing but the record knows whose they are.
    file::write_sealed(&importer.vault, &path, whole.as_bytes()).unwrap();
    assert_eq!(importer.remove_erased(TableKind::Sales, &importer.erasures().unwrap()).unwrap(), Some(2));
    assert_eq!(left(&importer), format!("{header}{others}"));
    assert!(importer.forget_erasure(alice).unwrap());
    assert_eq!(importer.remove_erased(TableKind::Sales, &importer.erasures().unwrap()).unwrap(), None);
    // The record holds no order number.
    assert!(!String::from_utf8(shop.opened()["erasures.sealed"].clone()).unwrap().contains("o4"));
}

#[test]
fn a_customer_number_is_no_constant() {
    let shop = shop();
    let mut options = ImportOptions::default();
    options.hints.constants.insert("customer_id".into(), "alice@example.org".into());
    let file = b"order_id,product_id,ordered_at,quantity\no7,mug,2024-01-02,1\n";
    let error = shop.importer().import(&Input::bytes("f.csv", file), &options).unwrap_err();
    assert!(matches!(error, StoreError::ConstantCustomer), "{error}");
    assert!(!fs::read_to_string(shop.importer().mapping_path()).unwrap().contains("alice"));
}

fn csv(write: impl FnOnce(&mut Vec<u8>) -> Result<u64, StoreError>) -> (u64, String) {
    let mut bytes = Vec::new();
    let count = write(&mut bytes).unwrap();
    (count, String::from_utf8(bytes).unwrap())
}

#[test]
fn what_is_held_of_a_customer_is_given_out_and_nobody_else_s() {
    let shop = shop();
    let importer = shop.importer();
    let (alice, bob) = (importer.pseudonym("alice"), importer.pseudonym("bob"));
    let (count, text) = csv(|to| importer.export_customer(alice, TableKind::Orders, to, Path::new("out")));
    assert_eq!(count, 3);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "order_id,line,customer_pseudonym,product_id,ordered_at,quantity,unit_price,discount,status,channel"
    );
    assert_eq!(lines[1], format!("o1,,{alice},mug,2024-01-02T00:00:00,2,4.5,0,sold,"));
    assert!(lines.len() == 4 && !text.contains(&bob.to_string()));
    assert_eq!(importer.rows_of(alice).unwrap(), [(TableKind::Orders, 3)].into());
}

#[test]
fn a_table_that_was_written_out_is_imported_equal() {
    let shop = shop();
    let products = b"product_id,title,list_price,colour,size\nmug,\"Mug, \"\"red\"\"\",9.5,red,\nsaw,Saw,,,long\n";
    shop.importer().import(&Input::bytes("products.csv", products), &ImportOptions::default()).unwrap();
    let (count, text) = csv(|to| shop.importer().export_table(TableKind::Products, to, Path::new("out")));
    assert_eq!(count, 2);
    assert!(text.lines().next().unwrap().ends_with("listed_on,colour,size"), "{text}");
    let other = self::shop();
    let report = other.importer().import(&Input::bytes("products.csv", text.as_bytes()), &ImportOptions::default());
    assert_eq!(report.unwrap().imported, 2);
    assert_eq!(other.store().catalogue().products, shop.store().catalogue().products);
    let (count, text) = csv(|to| shop.importer().export_table(TableKind::Orders, to, Path::new("out")));
    assert_eq!((count, text.lines().count()), (6, 7));
    assert_eq!(csv(|to| shop.importer().export_table(TableKind::Sales, to, Path::new("out"))), (0, String::new()));
}

#[test]
fn rows_older_than_their_period_go_at_the_next_import_and_do_not_come_back() {
    let shop = shop();
    let today = erasures::today();
    let recent = format!("o20,bob,mug,{today},1,4.5\n");
    assert!(shop.importer().too_old().unwrap().is_empty());
    shop.retain("orders = \"200 years\"\ncalendar = \"1 year\"");
    let too_old = shop.importer().too_old().unwrap();
    assert_eq!(
        too_old.iter().map(|one| (one.table, one.rows)).collect::<Vec<_>>(),
        [(TableKind::Orders, 0), (TableKind::Calendar, 0)]
    );
    shop.retain("orders = \"30 days\"");
    assert_eq!(shop.importer().too_old().unwrap()[0].rows, 6);
    let report = shop.import(&format!("{recent}o21,bob,mug,2024-01-02,7,4.5\n"));
    assert_eq!((report.imported, report.expired, report.expired_stored), (1, 1, 6), "{report}");
    let said = report.to_string();
    assert!(said.contains("1 left out: before ") && said.contains("6 stored ones removed"), "{said}");
    assert_eq!(shop.store().orders().len(), 1);
    assert_eq!((shop.import_with(LINES, &again()).expired, shop.store().orders().len()), (6, 1));
    // Plans are rows of days too.
    shop.retain("calendar = \"1 week\"");
    let calendar = format!("product_id,date,price\nmug,2024-01-05,8\nmug,{today},9\n");
    let report =
        shop.importer().import(&Input::bytes("c.csv", calendar.as_bytes()), &ImportOptions::default()).unwrap();
    assert_eq!((report.imported, report.expired, report.expired_stored), (1, 1, 0));
    assert_eq!(shop.store().catalogue().calendar["mug"].len(), 1);
}

#[test]
fn expire_drops_what_is_too_old_and_wrong_periods_stop_imports() {
    let shop = shop();
    shop.retain("orders = \"1 day\"");
    assert_eq!(shop.importer().expire().unwrap()[0].rows, 6);
    assert_eq!(shop.importer().expire().unwrap()[0].rows, 0);
    assert!(shop.store().orders().is_empty());
    shop.retain("orders = \"a while\"");
    let file = format!("{HEADER}{LINES}");
    let error = shop.importer().import(&Input::bytes("f.csv", file.as_bytes()), &again()).unwrap_err();
    assert!(error.to_string().contains("retention.toml") && error.to_string().contains("36 months"), "{error}");
    assert!(shop.store().orders().is_empty());
}

#[test]
fn a_new_key_seals_everything_and_the_old_one_opens_nothing() {
    let shop = shop();
    let before = shop.opened();
    let old_key = fs::read(shop.dir.path().join("data.key")).unwrap();
    let old_id = shop.importer().vault.key_id();
    let rotated = shop.importer().rotate_key().unwrap();
    assert_eq!((rotated.files, rotated.went_on), (before.len(), false));
    assert_ne!(rotated.key, old_id);
    assert_eq!(shop.opened(), before);
    assert_eq!(shop.products_of("alice").len(), 3);
    let contents = shop.importer().contents().unwrap();
    assert!(contents.tables.iter().all(|table| table.sealed_with == rotated.key) && !contents.is_between_keys);
    fs::write(shop.dir.path().join("data.key"), old_key).unwrap();
    assert!(DataStore::open(shop.dir.path()).is_err());
}

#[test]
fn a_rotation_that_was_broken_off_leaves_everything_readable_and_is_gone_on_with() {
    let shop = shop();
    let before = shop.opened();
    let names: Vec<String> = before.keys().cloned().collect();
    for done in 0..=names.len() {
        // As after a crash when so many files were sealed anew.
        let mut importer = shop.importer();
        importer.vault.begin_rotation().unwrap();
        for name in &names[..done] {
            file::write_sealed(&importer.vault, &shop.dir.path().join(name), &before[name]).unwrap();
        }
        drop(importer);
        assert_eq!(shop.opened(), before);
        assert!(shop.importer().contents().unwrap().is_between_keys);
        let rotated = shop.importer().rotate_key().unwrap();
        assert_eq!((rotated.files, rotated.went_on), (names.len() - done, true));
        assert_eq!(shop.opened(), before);
        assert!(!shop.importer().contents().unwrap().is_between_keys);
    }
}

#[test]
fn the_contents_are_counted() {
    let shop = shop();
    shop.erase("alice", Scope::UpToToday);
    shop.retain("orders = \"200 years\"");
    let contents = shop.importer().contents().unwrap();
    let [orders] = &contents.tables[..] else { panic!("{contents:?}") };
    assert_eq!((orders.rows, orders.products, orders.customers), (3, 2, Some(1)));
    assert_eq!((orders.first.as_deref(), orders.last.as_deref()), (Some("2024-01-03"), Some("2024-02-02")));
    assert_eq!(
        (orders.sources.len(), orders.sources[0].file.as_str(), orders.sources[0].imported),
        (1, "orders.csv", 6)
    );
    assert_eq!((contents.erasures.len(), contents.key_file), (1, shop.dir.path().join("data.key")));
    assert_eq!(contents.retention[&TableKind::Orders].to_string(), "200 years");
}
