use jiff::civil::{date, datetime};

use super::*;
use crate::data::{
    pseudonym::{DataSecret, PseudonymKey},
    signals::{Event, EventKind, Review},
};

fn pseudonyms() -> PseudonymKey {
    DataSecret::from_bytes(&[3; 32]).unwrap().pseudonym_key()
}

fn opened(name: &str, text: &str) -> Table {
    Table::open(&Input::bytes(name, text.as_bytes()), &TableFormat::default()).unwrap()
}

#[track_caller]
fn guessed(text: &str, kind: TableKind) -> (Table, TableMapping) {
    let table = opened("file", text);
    assert_eq!(detect(&table), Some(kind), "{text}");
    let mapping = guess(kind, &table).unwrap();
    (table, mapping)
}

#[track_caller]
fn events(text: &str) -> (Vec<Event>, ImportReport) {
    let (table, mapping) = guessed(text, TableKind::Events);
    let (rows, report, _) = read_events(&table, &mapping, &pseudonyms(), &ReadTo::default()).unwrap();
    (rows.into_iter().map(|(_, event)| event).collect(), report)
}

#[track_caller]
fn reviews(text: &str) -> (Vec<Review>, ImportReport) {
    let (table, mapping) = guessed(text, TableKind::Reviews);
    let (rows, report, _) = read_reviews(&table, &mapping, &pseudonyms(), &ReadTo::default()).unwrap();
    (rows.into_iter().map(|(_, review)| review).collect(), report)
}

#[test]
fn an_event_log_of_a_shop_is_views_and_carts_and_its_purchases_are_passed_over() {
    let (rows, report) = events(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n\
         2019-11-01 00:00:00 UTC,view,1003461,1,a.b,xiaomi,489.07,520088904,s1\n\
         2019-11-01 00:00:01 UTC,cart,1003461,1,a.b,xiaomi,489.07,520088904,s1\n\
         2019-11-01 00:00:02 UTC,remove_from_cart,1003461,1,a.b,xiaomi,489.07,520088904,s1\n\
         2019-11-01 00:00:03 UTC,purchase,1003461,1,a.b,xiaomi,489.07,520088904,s1\n",
    );
    let customer = Some(pseudonyms().pseudonym("520088904"));
    let expected = |kind, second| Event {
        product: "1003461".into(),
        kind,
        customer,
        at: datetime(2019, 11, 1, 0, 0, second, 0),
        count: 1.0,
    };
    assert_eq!(rows, [expected(EventKind::View, 0), expected(EventKind::Cart, 1)]);
    assert_eq!((report.rows, report.other_events, report.rejected_total), (4, 2, 0));
}

#[test]
fn milliseconds_visitors_and_items_are_an_event_log_too() {
    let (rows, report) = events(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n\
         1433223236124,257597,addtocart,248676,\n1433221999827,111016,transaction,318965,2354\n",
    );
    assert_eq!((rows.len(), report.other_events), (2, 1));
    assert_eq!((rows[1].kind, rows[0].at.date()), (EventKind::Cart, date(2015, 6, 2)));
    assert_eq!(&*rows[0].product, "355908");
    assert_eq!(rows[0].customer, Some(pseudonyms().pseudonym("257597")));
}

#[test]
fn json_lines_of_events_are_read_field_by_field() {
    let (rows, _) = events(
        "{\"time\":\"2024-01-02T10:00:00\",\"type\":\"add_to_wishlist\",\"product\":{\"sku\":\"mug\"},\"user\":{\"id\":7}}\n\
         {\"time\":\"2024-01-02T11:00:00\",\"type\":\"search\",\"product\":{\"sku\":\"saw\"}}\n",
    );
    assert_eq!((rows[0].kind, rows[1].kind), (EventKind::Wish, EventKind::Search));
    assert_eq!((&*rows[0].product, rows[1].customer), ("mug", None));
}

#[test]
fn counts_of_a_day_are_read_a_column_each_and_a_bad_one_is_named() {
    let (rows, report) =
        events("sku,date,views,add_to_carts\nmug,2024-01-02,120,7\nmug,2024-01-03,-1,2\nmug,2024-01-04,5,\n");
    assert_eq!(
        rows.iter().map(|event| (event.kind, event.count)).collect::<Vec<_>>(),
        [(EventKind::View, 120.0), (EventKind::Cart, 7.0), (EventKind::View, 5.0),]
    );
    let row = &report.rejected[0];
    assert_eq!((row.line, row.code, row.reason.as_str()), (3, "out-of-range", "views -1 is out of range"));
    assert_eq!(row.column.as_deref(), Some("views"));
}

#[test]
fn orders_stay_orders_even_where_events_stand_among_them() {
    let log =
        "event,order_id,user_id,product_id,time,quantity\nview,,u1,mug,2024-01-02,\npurchase,o1,u1,mug,2024-01-02,1\n";
    assert_eq!(detect(&opened("log.csv", log)), Some(TableKind::Orders));
    // The same file can be read once more, for its events.
    let table = opened("log.csv", log);
    let mapping = guess(TableKind::Events, &table).unwrap();
    let (rows, report, _) = read_events(&table, &mapping, &pseudonyms(), &ReadTo::default()).unwrap();
    assert_eq!((rows.len(), report.other_events), (1, 1));
}

#[test]
fn reviews_of_orders_are_told_by_their_columns_and_a_score_beyond_the_best_is_named() {
    let text = "review_id,order_id,review_score,review_comment_title,review_comment_message,review_creation_date,\
                review_answer_timestamp\nr1,o1,4,,\"good, very\",2018-01-18 00:00:00,2018-01-18 21:46:59\n\
                r2,o2,6,,,2018-01-18 00:00:00,\n";
    let (table, mapping) = guessed(text, TableKind::Reviews);
    // A six says that scores go to ten, unless the mapping says otherwise.
    assert_eq!(mapping.score_max, Some(10.0));
    let mapping = TableMapping { score_max: Some(5.0), ..mapping };
    let (rows, report, _) = read_reviews(&table, &mapping, &pseudonyms(), &ReadTo::default()).unwrap();
    assert_eq!((rows.len(), rows[0].1.text.as_str(), rows[0].1.score), (1, "good, very", Some(0.8)));
    assert_eq!((report.rejected[0].line, report.rejected[0].reason.as_str()), (3, "score 6 is out of range"));
}

#[test]
fn scores_are_shares_of_the_best_one() {
    let (rows, report) = reviews(
        "review_id,order_id,review_score,review_creation_date\nr1,o1,4,2018-01-18\nr2,o2,5,2018-01-19\nr3,,5,2018-01-19\n",
    );
    assert_eq!(rows.iter().map(|review| review.score).collect::<Vec<_>>(), [Some(0.8), Some(1.0)]);
    assert_eq!((rows[0].order.as_str(), rows[0].product.as_str()), ("o1", ""));
    assert_eq!((report.rejected[0].line, report.rejected[0].code), (4, "missing-value"));
    let (rows, _) = reviews(
        "{\"rating\":5.0,\"title\":\"Fine\",\"text\":\"It cuts.\",\"asin\":\"B0\",\"user_id\":\"AE\",\"timestamp\":1588615855070}\n",
    );
    assert_eq!((rows[0].product.as_str(), rows[0].text.as_str()), ("B0", "Fine. It cuts."));
    assert_eq!((rows[0].at.date(), rows[0].customer), (date(2020, 5, 4), Some(pseudonyms().pseudonym("AE"))));
    let old =
        "{\"overall\":3.0,\"asin\":\"B1\",\"reviewerID\":\"A1\",\"unixReviewTime\":1252800000,\"reviewText\":\"so\"}\n";
    let (rows, _) = reviews(old);
    assert_eq!((rows[0].score, rows[0].at.date()), (Some(0.6), date(2009, 9, 13)));
}

#[test]
fn stock_is_a_quantity_or_a_flag() {
    let (table, mapping) =
        guessed("sku;datum;bestand\nmug;31.01.2024;1.200\nsaw;31.01.2024;\nmug;01.02.2024;-2\n", TableKind::Stock);
    let (rows, report, _) = read_stock(&table, &mapping, &ReadTo::default()).unwrap();
    assert_eq!((rows[0].1.day.on_hand, rows[0].1.date), (Some(1.2), date(2024, 1, 31)));
    assert!(rows[1].1.day.is_out() && !rows[0].1.day.is_out());
    assert_eq!((report.rejected[0].line, report.rejected[0].code), (3, "missing-value"));
    // A flag alone is the calendar's, unless somebody says otherwise.
    let flags = opened("flags.csv", "product_id,date,available\nmug,2024-01-02,no\n");
    assert_eq!(detect(&flags), Some(TableKind::Calendar));
    let mapping = guess(TableKind::Stock, &flags).unwrap();
    assert!(read_stock(&flags, &mapping, &ReadTo::default()).unwrap().0[0].1.day.is_out());
}

#[test]
fn vectors_are_read_from_one_cell_or_from_a_column_each() {
    let read = |text: &str| {
        let (table, mapping) = guessed(text, TableKind::Vectors);
        read_vectors(&table, &mapping, &ReadTo::default()).unwrap()
    };
    let (rows, report, _) = read("product_id,embedding\nmug,\"[0.5, -1, 2e-3]\"\nsaw,0.5 x 1\nnail,[]\n");
    assert_eq!(rows[0].1.vector, [0.5, -1.0, 0.002]);
    assert_eq!(
        report.rejected.iter().map(|row| (row.line, row.code)).collect::<Vec<_>>(),
        [(3, "number"), (4, "missing-value")]
    );
    let header: Vec<String> = (0..12).rev().map(|at| format!("v{at}")).collect();
    let cells: Vec<String> = (0..12).rev().map(|at| at.to_string()).collect();
    let (rows, _, _) = read(&format!("sku,{}\nmug,{}\n", header.join(","), cells.join(",")));
    assert_eq!(rows[0].1.vector, (0..12).map(|at| at as f32).collect::<Vec<_>>());
    let (rows, _, _) = read("{\"sku\":\"mug\",\"vector\":[1,2.5,-3]}\n");
    assert_eq!(rows[0].1.vector, [1.0, 2.5, -3.0]);
}

#[test]
fn a_kind_of_promotion_is_a_promotion() {
    let (table, mapping) =
        guessed("product_id,date,price,promo_type\nmug,2024-01-02,4,2 for 1\nmug,2024-01-03,5,\n", TableKind::Calendar);
    let (rows, _, _) = read_calendar(&table, &mapping, &ReadTo::default()).unwrap();
    assert_eq!((rows[0].1.day.promotion, rows[0].1.day.promotion_type.as_deref()), (true, Some("2 for 1")));
    assert_eq!((rows[1].1.day.promotion, &rows[1].1.day.promotion_type), (false, &None));
}

const ITEMS: &str = "order_id,order_item_id,product_id,price\no1,1,mug,4.5\no1,2,mug,4.5\no2,1,saw,20\no9,1,saw,20\n";
const HEADS: &str = "order_id,customer_id,order_status,order_purchase_timestamp\no1,c1,delivered,2018-01-14 14:33:00\n\
                     o2,c2,canceled,2018-02-14 14:33:00\no3,c3,delivered,2018-02-15 10:00:00\n";
const PEOPLE: &str = "customer_id,customer_unique_id\nc1,alice\nc2,alice\nc3,bob\n";

#[test]
fn order_items_find_customer_day_and_status_in_other_tables() {
    let table = opened("items.csv", ITEMS).joined_with(&opened("orders.csv", HEADS)).unwrap();
    let table = table.joined_with(&opened("people.csv", PEOPLE)).unwrap();
    assert_eq!(detect(&table), Some(TableKind::Orders));
    let mapping = guess(TableKind::Orders, &table).unwrap();
    assert_eq!(mapping.constants["quantity"], "1");
    let mut lines = Vec::new();
    let (report, _) =
        read_orders::<IngestError>(&table, &mapping, &pseudonyms(), &ReadTo::default(), |_, row, line| {
            lines.push((row, line));
            Ok(())
        })
        .unwrap();
    let alice = Some(pseudonyms().pseudonym("alice"));
    assert_eq!(
        lines.iter().map(|(row, line)| (*row, line.customer)).collect::<Vec<_>>(),
        [2, 3, 4].map(|row| (row, alice))
    );
    assert_eq!((lines[0].1.line.as_deref(), lines[1].1.line.as_deref()), (Some("1"), Some("2")));
    assert_eq!(lines[2].1.at, datetime(2018, 2, 14, 14, 33, 0, 0));
    assert_eq!(lines[2].1.status, crate::data::order::LineStatus::Cancelled);
    // Of the fourth item's order nothing is known.
    assert_eq!((report.rejected[0].line, report.rejected[0].reason.as_str()), (5, "ordered_at is empty"));
    assert!(report.to_string().contains("orders.csv by order_id, people.csv by customer_id"), "{report}");
}

#[test]
fn tables_without_a_common_column_or_with_several_rows_of_a_value_are_not_joined() {
    let refused =
        |other: &str| opened("items.csv", ITEMS).joined_with(&opened("other.csv", other)).unwrap_err().to_string();
    assert!(refused("colour,shape\nred,round\n").contains("no column in common"));
    let several = refused("order_id,payment\no1,card\no1,voucher\n");
    assert!(several.contains("several rows of order_id `o1`"), "{several}");
}
