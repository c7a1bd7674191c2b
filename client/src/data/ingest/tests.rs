use jiff::civil::{date, datetime};
use proptest::prelude::*;

use super::*;
use crate::data::{
    order::{LineStatus, OrderLine},
    pseudonym::{DataSecret, PseudonymKey},
};

const HEADER: &str = "order_id,customer_id,product_id,ordered_at,quantity,unit_price,discount,returned,channel\n";
const GOOD: &str = "o1,c1,mug,2024-01-02 09:30:00,2,4.50,0.1,0,web\n";

fn pseudonyms() -> PseudonymKey {
    DataSecret::from_bytes(&[3; 32]).unwrap().pseudonym_key()
}

fn table(bytes: &[u8]) -> Result<Table, IngestError> {
    Table::open(&Input::bytes("file.csv", bytes), &TableFormat::default())
}

fn orders(bytes: &[u8]) -> (Vec<OrderLine>, ImportReport) {
    let table = table(bytes).unwrap();
    assert_eq!(detect(&table), Some(TableKind::Orders));
    let mapping = guess(TableKind::Orders, &table).unwrap();
    let (rows, report) = read_lines(&table, &mapping);
    (rows.into_iter().map(|(_, line)| line).collect(), report)
}

/// Every order line that parses, and the report.
fn read_lines(table: &Table, mapping: &TableMapping) -> (Vec<(u64, OrderLine)>, ImportReport) {
    let mut rows = Vec::new();
    let read = read_orders::<IngestError>(table, mapping, &pseudonyms(), &ReadTo::default(), |_, line, row| {
        rows.push((line, row));
        Ok(())
    });
    (rows, read.unwrap().0)
}

/// Imports good rows around one bad row and returns what was said about it.
fn rejection(bad: &str) -> (u64, &'static str, String) {
    let second = GOOD.replace("o1", "o2");
    let (lines, report) = orders(format!("{HEADER}{GOOD}{bad}\n{second}").as_bytes());
    assert_eq!((lines.len(), report.rows, report.rejected_total), (2, 3, 1), "{report}");
    let row = &report.rejected[0];
    (row.line, row.code, row.reason.clone())
}

#[test]
fn a_canonical_order_line_is_read_field_by_field() {
    let (lines, report) = orders(format!("{HEADER}{GOOD}").as_bytes());
    let expected = OrderLine {
        order: "o1".into(),
        line: None,
        customer: Some(pseudonyms().pseudonym("c1")),
        product: "mug".into(),
        at: datetime(2024, 1, 2, 9, 30, 0, 0),
        quantity: 2.0,
        unit_price: Some(4.5),
        discount: 0.1,
        status: LineStatus::Sold,
        channel: Some("web".into()),
    };
    assert_eq!(lines, [expected]);
    assert_eq!((report.rows, report.rejected_total), (1, 0));
}

#[test]
fn an_impossible_date_is_rejected_with_its_line() {
    let (line, code, reason) = rejection("o9,c1,mug,2024-02-30,2,4.50,0,0,web");
    assert_eq!((line, code), (3, "date"));
    assert_eq!(reason, "ordered_at `2024-02-30` is no date");
}

#[test]
fn a_negative_price_is_rejected_with_its_line() {
    assert_eq!(rejection("o9,c1,mug,2024-02-03,2,-4.50,0,0,web").1, "negative-price");
}

#[test]
fn a_quantity_that_is_no_number_absurd_or_zero_is_rejected() {
    for (quantity, code) in [
        ("NaN", "number"),
        ("inf", "number"),
        ("two", "number"),
        ("1e300", "out-of-range"),
        ("-2000000", "out-of-range"),
        ("0", "zero-quantity"),
        ("", "missing-value"),
    ] {
        let (line, found, _) = rejection(&format!("o9,c1,mug,2024-02-03,{quantity},4.50,0,0,web"));
        assert_eq!((line, found), (3, code), "{quantity}");
    }
}

#[test]
fn a_missing_or_surplus_field_is_rejected() {
    assert_eq!(rejection("o9,c1,mug,2024-02-03").1, "field-count");
    assert_eq!(rejection("o9,c1,mug,2024-02-03,2,4.50,0,0,web,surplus").1, "field-count");
    assert_eq!(rejection("o9,\"c1,mug,2024-02-03,2,4.50,0,0,web").1, "quote");
}

#[test]
fn a_missing_product_a_wrong_flag_and_an_impossible_discount_are_rejected() {
    assert_eq!(rejection("o9,c1,,2024-02-03,2,4.50,0,0,web").1, "missing-value");
    assert_eq!(rejection("o9,c1,mug,2024-02-03,2,4.50,0,perhaps,web").1, "flag");
    assert_eq!(rejection("o9,c1,mug,2024-02-03,2,4.50,-0.5,0,web").1, "out-of-range");
    let long = "x".repeat(201);
    assert_eq!(rejection(&format!("{long},c1,mug,2024-02-03,2,4.50,0,0,web")).1, "too-long");
}

#[test]
fn bytes_that_are_no_utf8_cost_their_row_and_are_decoded_when_the_mapping_names_the_encoding() {
    let mut bytes = format!("{HEADER}{GOOD}").into_bytes();
    bytes.extend("o3,c1,Glühwein,2024-01-03,1,2,0,0,web\n".bytes());
    bytes.extend(b"o2,c1,Gl\xfchwein,2024-01-03,1,2,0,0,web\n");
    let (lines, report) = orders(&bytes);
    assert_eq!((lines.len(), report.rejected[0].line, report.rejected[0].code), (2, 4, "encoding"));
    let format = TableFormat { encoding: Some("windows-1252".into()), ..TableFormat::default() };
    let table = Table::open(&Input::bytes("file.csv", &bytes), &format).unwrap();
    let mapping = guess(TableKind::Orders, &table).unwrap();
    let (rows, _) = read_lines(&table, &mapping);
    assert_eq!(rows[2].1.product, "Glühwein");
}

#[test]
fn a_file_without_any_utf8_is_taken_for_windows_1252_and_the_report_says_so() {
    let mut bytes = format!("{HEADER}{GOOD}").into_bytes();
    bytes.extend(b"o2,c1,Gl\xfchwein,2024-01-03,1,\x80 2.50,0,0,web\n");
    let (lines, report) = orders(&bytes);
    assert_eq!((lines[1].product.as_str(), lines[1].unit_price), ("Glühwein", Some(2.5)));
    assert_eq!(report.written["encoding"], "windows-1252");
    assert_eq!(report.currencies, [("€".to_owned(), 1)].into());
    assert!(report.to_string().contains("encoding windows-1252"), "{report}");
}

#[test]
fn what_is_known_beforehand_is_not_guessed() {
    let odd = "Beleg|Ware|Wann|Preis\nB1|mug|03/02/2024|2\nB2|saw|04/02/2024|1\n";
    let hints = |columns: &[(&str, &str)], constants: &[(&str, &str)], format: Option<&str>| {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let date_format = format.map(str::to_owned);
        Hints { columns: pairs(columns), constants: pairs(constants), date_format, ..Hints::default() }
    };
    let columns = [("order_id", "Beleg"), ("product_id", "Ware"), ("ordered_at", "Wann")];
    let known = |hints: &Hints| table(odd.as_bytes()).unwrap().with(hints);
    assert_eq!(detect(&known(&Hints::default())), None);
    let table = known(&hints(&columns, &[("quantity", "1")], Some("%d/%m/%Y")));
    assert_eq!(detect(&table), Some(TableKind::Orders));
    let (rows, report) = read_lines(&table, &guess(TableKind::Orders, &table).unwrap());
    assert_eq!((rows[1].1.quantity, rows[1].1.unit_price), (1.0, Some(1.0)));
    assert_eq!(rows[0].1.at.date(), date(2024, 2, 3));
    assert!(report.to_string().contains("in every row: quantity = 1"), "{report}");
    let message = |hints: &Hints| {
        let table = known(hints);
        let mapping = guess(TableKind::Orders, &table);
        mapping.and_then(|mapping| columns::Columns::new(TableKind::Orders, &table, &mapping).map(|_| ())).unwrap_err()
    };
    let ambiguous = message(&hints(&columns, &[("quantity", "1")], None)).to_string();
    assert!(ambiguous.ends_with("--date-format %d/%m/%Y or --date-format %m/%d/%Y"), "{ambiguous}");
    let missing = message(&hints(&columns, &[], None)).to_string();
    assert!(missing.contains("--column quantity=NAME, or with --constant quantity=VALUE"), "{missing}");
    let misspelt = message(&hints(&[columns[0], columns[1], ("ordered_at", "Wan")], &[("quantity", "1")], None));
    assert!(misspelt.to_string().contains("takes `ordered_at` from the column `Wan`"), "{misspelt}");
    let unknown = message(&hints(&columns, &[("quantity", "1"), ("colour", "red")], Some("%d/%m/%Y"))).to_string();
    assert!(unknown.contains("the field `colour`, which orders do not have"), "{unknown}");
}

#[test]
fn an_unknown_encoding_is_refused() {
    let format = TableFormat { encoding: Some("klingon".into()), ..TableFormat::default() };
    let error = Table::open(&Input::bytes("file.csv", HEADER.as_bytes()), &format).err().unwrap();
    assert!(matches!(error, IngestError::UnknownEncoding { .. }));
}

#[test]
fn byte_order_marks_semicolons_tabs_decimal_commas_and_gzip_are_understood() {
    let german = "\u{feff}Bestellnummer;Kundennummer;Artikelnummer;Bestelldatum;Menge;Einzelpreis\r\n\
                  7;k;mug;03.02.2024 10:00;1,5;1.234,50\r\n";
    let (lines, _) = orders(german.as_bytes());
    assert_eq!((lines[0].quantity, lines[0].unit_price), (1.5, Some(1234.5)));
    assert_eq!(lines[0].at, datetime(2024, 2, 3, 10, 0, 0, 0));
    let tabs = format!("{HEADER}{GOOD}").replace(',', "\t");
    assert_eq!(orders(tabs.as_bytes()).0.len(), 1);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, german.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(orders(&gzip).0, lines);
    let truncated = table(&gzip[..gzip.len() / 2]).unwrap_err();
    assert!(matches!(truncated, IngestError::Unpack { packing: "gzip", .. }), "{truncated}");
    let utf16: Vec<u8> = std::iter::once(0xfeff).chain(tabs.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(orders(&utf16).0.len(), 1);
}

#[test]
fn what_is_no_table_is_refused_with_what_was_expected() {
    for bytes in [
        b"PK\x03\x04 workbook".as_slice(),
        b"<!DOCTYPE html><html><table></table></html>",
        b"{\"orders\": [1, 2]}",
        b"[{\"order_id\": 1}]",
        b"{\n  \"order_id\": 1\n}\n",
        b"%PDF-1.7",
        b"\x00\x01\x02\x03,\x04",
        b"just a sentence\nand another\n",
    ] {
        let error = table(bytes).unwrap_err();
        assert!(matches!(error, IngestError::NotATable { .. }), "{error}");
        assert!(error.to_string().contains("order_id,customer_id,product_id"), "{error}");
    }
    assert!(matches!(table(b""), Err(IngestError::Empty { .. })));
    assert!(matches!(table(b"\n \r\n"), Err(IngestError::Empty { .. })));
    assert!(matches!(table(b"1,2024-01-02,3\n2,2024-01-03,4\n"), Err(IngestError::NoHeader { .. })));
}

#[test]
fn a_header_that_fits_nothing_is_named() {
    let unknown = table(b"colour,shape\nred,round\n").unwrap();
    assert_eq!(detect(&unknown), None);
    let error = guess(TableKind::Orders, &unknown).unwrap_err();
    assert!(error.to_string().contains("no column for order_id, product_id, ordered_at, quantity"), "{error}");
}

#[test]
fn each_canonical_table_is_recognised_by_its_header() {
    for kind in TableKind::ALL {
        // An event log is known by its events.
        let rows = if kind == TableKind::Events { "2024-01-02 10:00:00,view,mug,alice\n" } else { "" };
        let text = format!("{}\n{rows}", kind.expected_header());
        assert_eq!(detect(&table(text.as_bytes()).unwrap()), Some(kind));
    }
    let uci = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
    assert_eq!(detect(&table(uci).unwrap()), Some(TableKind::Orders));
    let air = b"air_store_id,visit_date,visitors\n";
    assert_eq!(detect(&table(air).unwrap()), Some(TableKind::Sales));
}

#[test]
fn a_misspelt_column_is_named_and_never_turns_orders_into_products() {
    let misspelt = format!("{HEADER}{GOOD}").replace("quantity", "quantty");
    let table = table(misspelt.as_bytes()).unwrap();
    assert_eq!(detect(&table), Some(TableKind::Orders));
    let error = guess(TableKind::Orders, &table).unwrap_err();
    assert!(matches!(&error, IngestError::MissingColumns { missing, .. } if missing == &["quantity"]), "{error}");
}

#[test]
fn a_customer_column_is_never_kept_as_an_attribute() {
    let table = table(b"product_id,title,colour,Customer ID\nmug,Red mug,red,17850\n").unwrap();
    assert_eq!(guess(TableKind::Products, &table).unwrap().attributes, ["colour"]);
}

#[test]
fn day_first_and_month_first_are_told_apart_or_asked_for() {
    let rows = |dates: &[&str]| {
        let body: String = dates.iter().map(|day| format!("o,mug,{day},1\n")).collect();
        format!("order_id,product_id,date,quantity\n{body}").into_bytes()
    };
    let format = |dates: &[&str]| guess(TableKind::Orders, &table(&rows(dates)).unwrap());
    assert_eq!(format(&["01/02/2024", "25/02/2024"]).unwrap().date_formats, ["%d/%m/%Y"]);
    assert_eq!(format(&["01/02/2024", "02/25/2024"]).unwrap().date_formats, ["%m/%d/%Y"]);
    assert!(matches!(format(&["01/02/2024", "03/04/2024"]), Err(IngestError::AmbiguousDates { .. })));
    assert!(matches!(format(&["soon", "later"]), Err(IngestError::UnknownDates { .. })));
    let mut late = vec!["01/02/2024"; 30_000];
    late.push("02/25/2024");
    assert_eq!(format(&late).unwrap().date_formats, ["%m/%d/%Y"]);
}

#[test]
fn a_mapping_names_columns_constants_and_what_marks_a_return() {
    let text = b"a,b,c,d,e\nC1,mug,2024-01-02,-3,canceled\n2,mug,2024-01-02,1,refunded\n3,mug,2024-01-02,1,ok\n";
    let mapping = Mapping::from_toml(
        "[orders]\nreturn-order-prefixes = [\"C\"]\n[orders.columns]\norder_id = \"a\"\nproduct_id = \"b\"\n\
         ordered_at = \"c\"\nquantity = \"d\"\nstatus = \"e\"\n[orders.constants]\nchannel = \"shop\"\n",
    )
    .unwrap();
    let mapping = mapping.orders.unwrap();
    let (rows, _) = read_lines(&table(text).unwrap(), &mapping);
    let statuses: Vec<_> = rows.iter().map(|(_, line)| line.status).collect();
    assert_eq!(statuses, [LineStatus::Cancelled, LineStatus::Returned, LineStatus::Sold]);
    assert_eq!(rows[0].1.channel.as_deref(), Some("shop"));
}

#[test]
fn a_mapping_that_does_not_fit_is_refused_with_what_is_wrong() {
    let table = table(b"a,b,c\n1,2,3\n").unwrap();
    let with = |field: &str, column: &str| {
        let mut mapping = TableMapping::default();
        for (field, column) in [("series_id", "a"), ("date", "b"), ("value", "c"), (field, column)] {
            mapping.columns.insert(field.to_owned(), column.to_owned());
        }
        mapping.check(TableKind::Sales, &table)
    };
    assert!(matches!(with("date", "z"), Err(MappingError::UnknownColumn { .. })));
    assert!(matches!(with("colour", "a"), Err(MappingError::UnknownField { .. })));
    assert!(with("value", "c").is_ok());
    assert!(matches!(
        TableMapping::default().check(TableKind::Sales, &table),
        Err(MappingError::MissingField { field: "series_id" })
    ));
    let formats = TableMapping { date_formats: vec!["dd/mm/yyyy".into()], ..TableMapping::default() };
    let columns = [("series_id", "a"), ("date", "b"), ("value", "c")];
    let formats = TableMapping {
        columns: columns.map(|(field, column)| (field.to_owned(), column.to_owned())).into(),
        ..formats
    };
    assert!(matches!(formats.check(TableKind::Sales, &table), Err(MappingError::DateFormat { .. })));
    assert!(matches!(Mapping::from_toml("[orders]\ncolumn = 3\n"), Err(MappingError::Toml { .. })));
}

#[test]
fn times_become_the_shop_s_where_its_zone_is_said() {
    let evening = GOOD.replace("2024-01-02 09:30:00", "2024-01-02T23:30:00Z");
    assert_ne!(evening, GOOD);
    let table = table(format!("{HEADER}{evening}").as_bytes()).unwrap();
    let written = guess(TableKind::Orders, &table).unwrap();
    let of = |time_zone: Option<&str>, written_in_zone: Option<&str>| TableMapping {
        time_zone: time_zone.map(str::to_owned),
        written_in_zone: written_in_zone.map(str::to_owned),
        ..written.clone()
    };
    let day = |mapping: &TableMapping| read_lines(&table, mapping).0[0].1.at;
    assert_eq!(day(&written), datetime(2024, 1, 2, 23, 30, 0, 0));
    let berlin = of(Some("Europe/Berlin"), None);
    assert_eq!(day(&berlin), datetime(2024, 1, 3, 0, 30, 0, 0));
    assert_eq!(read_lines(&table, &berlin).1.written["times turned into"], "Europe/Berlin");
    let mapping = Mapping { orders: Some(berlin), ..Mapping::default() };
    assert_eq!(Mapping::from_toml(&mapping.to_toml().unwrap()).unwrap(), mapping);

    let refused = of(Some("Berlin"), None).check(TableKind::Orders, &table).unwrap_err();
    assert!(refused.is_of_the_mapping_alone() && refused.to_string().contains("`Berlin`"), "{refused}");
    assert_eq!(of(None, Some("UTC")).check(TableKind::Orders, &table), Err(MappingError::NoTimeZone));
}

#[test]
fn a_guessed_mapping_survives_its_toml() {
    let table = table(format!("{HEADER}{GOOD}").as_bytes()).unwrap();
    let mapping = Mapping { orders: Some(guess(TableKind::Orders, &table).unwrap()), ..Mapping::default() };
    assert_eq!(Mapping::from_toml(&mapping.to_toml().unwrap()).unwrap(), mapping);
}

#[test]
fn products_keep_unknown_columns_as_attributes_and_the_calendar_keeps_unknown_stock_unknown() {
    let products =
        table(b"product_id,title,category,list_price,listed_on,colour\nmug,Red mug,kitchen,9.5,2024-01-02,red\n")
            .unwrap();
    let mapping = guess(TableKind::Products, &products).unwrap();
    let product = read_products(&products, &mapping, &ReadTo::default()).unwrap().0.remove(0).1;
    assert_eq!((product.list_price, product.listed_on), (Some(9.5), Some(date(2024, 1, 2))));
    assert_eq!(product.attributes, [("colour".to_owned(), "red".to_owned())]);
    let calendar =
        table(b"product_id,date,price,promotion,coupon,in_stock\nmug,2024-01-02,8,1,,\nmug,2024-01-03,,,,0\n").unwrap();
    let mapping = guess(TableKind::Calendar, &calendar).unwrap();
    let rows = read_calendar(&calendar, &mapping, &ReadTo::default()).unwrap().0;
    assert_eq!((rows[0].1.day.price, rows[0].1.day.promotion, rows[0].1.day.in_stock), (Some(8.0), true, None));
    assert_eq!((rows[1].1.day.price, rows[1].1.day.in_stock), (None, Some(false)));
}

#[test]
fn a_percentage_is_recognised_as_one() {
    let text = "order_id,product_id,date,quantity,discount\n1,mug,2024-01-02,1,20\n2,mug,2024-01-02,1,0\n";
    assert_eq!(orders(text.as_bytes()).0[0].discount, 0.2);
}

#[test]
fn a_report_lists_a_bounded_number_of_rows_and_counts_all() {
    let bad = "o9,c1,mug,soon,2,4.50,0,0,web\n".repeat(150);
    let good = GOOD.repeat(200);
    let (lines, report) = orders(format!("{HEADER}{good}{bad}").as_bytes());
    assert_eq!((lines.len(), report.rejected_total, report.rejected.len()), (200, 150, REJECTED_LISTED));
    assert_eq!(report.reasons["date"], 150);
    assert_eq!(report.rejected[0].line, 202);
    let text = report.to_string();
    assert!(text.contains("150 rejected: date") && text.contains("line 202: ordered_at `soon` is no date"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["rejected"][0]["line"], 202);
}

/// Reads bytes in every way there is; the point is that it returns.
fn read_everything(bytes: &[u8]) {
    let Ok(table) = table(bytes) else { return };
    let _ = detect(&table);
    for kind in TableKind::ALL {
        let Ok(mapping) = guess(kind, &table) else { continue };
        let all = ReadTo::default();
        let read = |table: &Table| {
            Ok::<_, IngestError>(match kind {
                TableKind::Orders => {
                    let (rows, report) = read_lines(table, &mapping);
                    (rows.len(), report)
                }
                TableKind::Products => read_products(table, &mapping, &all).map(|read| (read.0.len(), read.1))?,
                TableKind::Calendar => read_calendar(table, &mapping, &all).map(|read| (read.0.len(), read.1))?,
                TableKind::Holidays => read_holidays(table, &mapping, &all).map(|read| (read.0.len(), read.1))?,
                TableKind::Sales => read_sales(table, &mapping, &all).map(|read| (read.0.len(), read.1))?,
                TableKind::Reviews => read_reviews(table, &mapping, &pseudonyms(), &all).map(|r| (r.0.len(), r.1))?,
                TableKind::Stock => read_stock(table, &mapping, &all).map(|read| (read.0.len(), read.1))?,
                TableKind::Occasions => read_occasions(table, &mapping, &all).map(|read| (read.0.len(), read.1))?,
                TableKind::Vectors => read_vectors(table, &mapping, &all).map(|read| (read.0.len(), read.1))?,
                // A row can be several events, or none.
                TableKind::Events => {
                    let report = read_events(table, &mapping, &pseudonyms(), &all)?.1;
                    ((report.rows - report.rejected_total) as usize, report)
                }
            })
        };
        let (rows, report) = read(&table).expect("a guessed mapping fits its table");
        assert_eq!(rows as u64 + report.rejected_total, report.rows, "every row is imported or rejected");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_everything(&bytes);
    }

    #[test]
    fn no_text_under_a_good_header_makes_it_panic(body in "[a-z0-9,;\"\\-:. \t\r\n\u{e9}]{0,200}") {
        read_everything(format!("{HEADER}{body}").as_bytes());
        read_everything(format!("series_id,date,value\n{body}").as_bytes());
        read_everything(format!("date,name\n{body}").as_bytes());
        read_everything(format!("event_time,event_type,product_id,user_id\n2024-01-01,view,a,b\n{body}").as_bytes());
        read_everything(format!("order_id,review_id,review_score,review_creation_date\n{body}").as_bytes());
        read_everything(format!("product_id,date,on_hand\n{body}").as_bytes());
        read_everything(format!("product_id,vector\n{body}").as_bytes());
    }

    #[test]
    fn no_mutation_of_a_good_file_makes_it_panic_or_lose_a_row(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..8)
    ) {
        let mut bytes = format!("{HEADER}{GOOD}{GOOD}{GOOD}").into_bytes();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        read_everything(&bytes);
    }
}
