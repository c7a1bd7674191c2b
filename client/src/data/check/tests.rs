use jiff::civil::date;

use super::*;
use crate::data::store::ImportOptions;

/// A small shop with one of everything: 60 days from 1 January 2024, two mugs a day by two customers.
fn shop() -> (tempfile::TempDir, DataStore) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = DataStore::open(dir.path()).unwrap();
    let mut orders = String::from("order_id,customer_id,product_id,ordered_at,quantity,unit_price,status,channel\n");
    for day in (0..60).filter(|day| !(20..30).contains(day)) {
        let date = crate::data::order::plus_days(date(2024, 1, 1), day);
        orders.push_str(&format!("o{day},c{},mug,{date} 10:00,2,4.50,paid,web\n", day % 2));
    }
    orders.push_str("x1,c0,mug,2024-02-01 12:00,-1,4.50,paid,web\n");
    orders.push_str("x2,c0,mug,2024-02-01 12:00,3,4.50,cancelled,web\n");
    orders.push_str("x3,,saw,2024-02-01 03:00,1,0,paid,Web\n");
    orders.push_str("x4,c1,mug,2024-02-02 12:00,900,450,paid,web\n");
    orders.push_str("x5,c1,mug,2024-02-02 12:00,900,450,paid,web\n");
    orders.push_str("x6,c1,Mug,2024-02-03 12:00,1,4.50,paid,web\n");
    orders.push_str("x7,c1,mug,soon,1,4.50,paid,web\n");
    let import = |store: &mut DataStore, name: &str, text: &str| {
        store.import_bytes(name, text.as_bytes(), &ImportOptions::default()).unwrap()
    };
    import(&mut store, "orders.csv", &orders);
    import(&mut store, "products.csv", "product_id,title,category\nmug,Mug,kitchen\nvase,Vase,\n");
    (dir, store)
}

fn checked(store: &DataStore, choice: &SeriesChoice) -> Check {
    check(store, &store.mappings().unwrap(), store.journal(), choice, date(2024, 6, 1))
}

fn found<'a>(check: &'a Check, what: &str) -> &'a Finding {
    let mut findings = check.findings.iter().filter(|finding| finding.what.contains(what));
    findings.next().unwrap_or_else(|| panic!("nothing about `{what}` in {check}"))
}

#[test]
fn everything_that_was_decided_is_counted_and_says_what_undoes_it() {
    let (_dir, store) = shop();
    let check = checked(&store, &SeriesChoice::default());
    for (what, count) in [
        ("a date that is none", 1),
        ("without a customer", 1),
        ("under another order number", 1),
        ("differ only in case", 2),
        ("of cancelled orders", 1),
        ("negative quantity", 1),
        ("a price of 0", 1),
        ("unusual quantity", 2),
        ("at night", 1),
        ("usual price of their product", 2),
        ("sales channels", 2),
        ("gaps of three days", 10),
        ("the product table does not have", 2),
        ("never sold", 1),
    ] {
        let finding = found(&check, what);
        assert_eq!(finding.count, count, "{what}");
        assert!(finding.undo.is_some() && !finding.decision.is_empty(), "{what}");
    }
    assert_eq!(found(&check, "gaps of three days").examples, ["2024-01-21 to 2024-01-30: 10 days"]);
    assert_eq!(found(&check, "a date that is none").examples[0].split(" (").next(), Some("1 of orders.csv"));
    assert!(found(&check, "negative quantity").detail.starts_with("1 units were taken"));
    assert!(check.nothing.contains(&"order lines dated in the future"));
    // What is worth a look comes first.
    let looks: Vec<bool> = check.findings.iter().map(|finding| finding.look).collect();
    assert!(looks[0] && looks.is_sorted_by(|a, b| a >= b));
}

#[test]
fn a_setting_undoes_a_decision() {
    let (_dir, store) = shop();
    let mut choice = SeriesChoice::default();
    let text = "by = \"product\"\nwinsorise = 0.9\n[cleaning]\nreturns = \"gross\"\nkeep-zero-prices = true\n";
    let set: SeriesChoice = toml::from_str(text).unwrap();
    choice.cleaning.keep_zero_prices = true;
    let counted = |choice: &SeriesChoice| checked(&store, choice).to_string();
    assert!(counted(&SeriesChoice::default()).contains("order lines at a price of 0"));
    assert!(!counted(&choice).contains("1 of 56 (1.8 %) order lines at a price of 0"));
    let check = checked(&store, &set);
    assert_eq!(found(&check, "winsorised").count, 1);
    let negative = found(&check, "negative quantity");
    assert!(negative.undo.as_deref().unwrap().contains("returns = \"net\"") && !negative.look);
    assert_eq!(negative.detail, "1 units");
}

#[test]
fn the_page_holds_every_finding_and_no_script_and_no_customer() {
    let (_dir, store) = shop();
    let check = checked(&store, &SeriesChoice::default());
    let page = render(&check, "forecastle data check").unwrap();
    for finding in &check.findings {
        assert!(page.contains(finding.what.split('\'').next().unwrap()), "{}", finding.what);
    }
    assert!(page.contains("<svg") && !page.contains("<script") && page.contains("orders.csv"));
    let pseudonym = store.orders()[0].customer.unwrap().to_string();
    let json = serde_json::to_string(&check).unwrap();
    assert!(!page.contains(&pseudonym) && !json.contains(&pseudonym) && !check.to_string().contains(&pseudonym));
}

#[test]
fn nothing_imported_is_said_and_totals_are_looked_at_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = DataStore::open(dir.path()).unwrap();
    let check = checked(&store, &SeriesChoice::default());
    assert!(check.to_string().starts_with("Nothing has been imported yet."), "{check}");
    render(&check, "forecastle data check").unwrap();
    let totals = "series_id,date,value\na,2024-01-01,5\na,2024-01-04,-3\nb,2024-01-02,1\n";
    store.import_bytes("totals.csv", totals.as_bytes(), &ImportOptions::default()).unwrap();
    let check = checked(&store, &SeriesChoice::default());
    assert_eq!(found(&check, "days without a total").count, 2);
    assert_eq!(found(&check, "totals below 0").count, 1);
}
