//! Files that are not plain CSV: compressed, JSON lines, Parquet.

use std::io::Write as _;

use jiff::civil::datetime;
use proptest::prelude::*;

use super::*;
use crate::data::{
    order::{LineStatus, OrderLine},
    pseudonym::{DataSecret, PseudonymKey},
};

fn pseudonyms() -> PseudonymKey {
    DataSecret::from_bytes(&[3; 32]).unwrap().pseudonym_key()
}

fn open(bytes: &[u8]) -> Result<Table, IngestError> {
    Table::open(&Input::bytes("file", bytes), &TableFormat::default())
}

fn read(table: &Table, mapping: &TableMapping) -> Result<(Vec<OrderLine>, ImportReport), IngestError> {
    let mut lines = Vec::new();
    let (report, _) = read_orders::<IngestError>(table, mapping, &pseudonyms(), &ReadTo::default(), |_, _, line| {
        lines.push(line);
        Ok(())
    })?;
    Ok((lines, report))
}

fn orders(bytes: &[u8]) -> (Vec<OrderLine>, ImportReport) {
    let table = open(bytes).unwrap();
    assert_eq!(detect(&table), Some(TableKind::Orders), "{:?}", table.header());
    read(&table, &guess(TableKind::Orders, &table).unwrap()).unwrap()
}

const CSV: &str = "order_id,product_id,date,quantity\n1,mug,2024-01-02,3\n2,saw,2024-01-03,1\n";

#[test]
fn zstd_is_unpacked_in_one_frame_or_several_and_damage_is_named() {
    let plain = orders(CSV.as_bytes());
    let packed = zstd::encode_all(CSV.as_bytes(), 3).unwrap();
    assert_eq!(orders(&packed), plain);
    let (head, tail) = CSV.split_at(40);
    let frames =
        [zstd::encode_all(head.as_bytes(), 1).unwrap(), zstd::encode_all(tail.as_bytes(), 19).unwrap()].concat();
    assert_eq!(orders(&frames), plain);
    let error = open(&packed[..packed.len() - 4]).unwrap_err();
    assert!(matches!(&error, IngestError::Unpack { packing: "zstd", .. }), "{error}");
    assert!(error.to_string().ends_with("transfer it again"), "{error}");
    let packed_parquet = zstd::encode_all(b"PAR1....".as_slice(), 1).unwrap();
    assert!(open(&packed_parquet).unwrap_err().to_string().contains("unpack it first"));
}

#[test]
fn a_file_that_breaks_off_in_its_middle_is_refused_while_it_is_read() {
    let mut csv = String::from("order_id,product_id,date,quantity\n");
    for order in 0..200_000 {
        csv.push_str(&format!("{order},{},2024-01-02,3\n", order * 7919 % 1_000_003));
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let table = open(&gzip[..gzip.len() / 2]).unwrap();
    let error = read(&table, &guess(TableKind::Orders, &table).unwrap()).unwrap_err();
    assert!(matches!(error, IngestError::Unpack { packing: "gzip", .. }), "{error}");
}

#[test]
fn a_row_longer_than_any_is_rejected_and_reading_goes_on() {
    let long = "x".repeat(17 << 20);
    let (lines, report) = orders(format!("{CSV}3,{long},2024-01-03,1\n4,mug,2024-01-03,1\n").as_bytes());
    assert_eq!((lines.len(), report.rejected[0].line, report.rejected[0].code), (3, 4, "too-long"));
    let log = format!("{LOG}{{\"event\":\"purchase\",\"sku\":\"{long}\"}}\n{}", LOG.lines().nth(1).unwrap());
    let (lines, report) = orders(log.as_bytes());
    assert_eq!((lines.len(), report.rejected[2].line, report.rejected[2].code), (5, 8, "too-long"));
}

const LOG: &str = r#"{"event":"view","timestamp":"2024-01-02T09:00:00Z","user":{"id":"c1"},"sku":"mug"}
{"event":"purchase","timestamp":"2024-01-02T09:30:00Z","user":{"id":"c1"},"order":{"id":7},"items":[{"sku":"mug","quantity":2,"price":4.5},{"sku":"saw","quantity":1,"price":20}]}

{"event":"order_shipped","timestamp":"2024-01-03T09:30:00Z","user":{"id":"c1"},"order":{"id":7},"items":[{"sku":"mug","quantity":2,"price":4.5}]}
{"event":"purchase","timestamp":"2024-01-04T10:00:00Z","order":{"id":8},"items":[{"sku":"mug","quantity":"many","price":4.5}]}
{"event":"purchase",
{"event":"refund","timestamp":"2024-01-05T10:00:00Z","user":{"id":"c1"},"order":{"id":7},"items":[{"sku":"saw","quantity":1,"price":20}]}
"#;

#[test]
fn an_event_log_becomes_order_lines_and_its_other_events_are_passed_over() {
    let table = open(LOG.as_bytes()).unwrap();
    let mapping = guess(TableKind::Orders, &table).unwrap();
    let of = |field: &str| mapping.columns.get(field).map(String::as_str);
    assert_eq!(of("product_id"), Some("items[].sku"));
    assert_eq!(
        (of("order_id"), of("customer_id"), of("quantity")),
        (Some("order.id"), Some("user.id"), Some("items[].quantity"))
    );
    assert_eq!(
        (mapping.order_events.as_slice(), mapping.return_events.as_slice()),
        (&["purchase".to_owned()][..], &["refund".to_owned()][..])
    );
    let (lines, report) = read(&table, &mapping).unwrap();
    let shown: Vec<_> = lines.iter().map(|line| (line.order.as_str(), line.product.as_str(), line.quantity)).collect();
    assert_eq!(shown, [("7", "mug", 2.0), ("7", "saw", 1.0), ("7", "saw", -1.0)]);
    assert_eq!(lines[0].at, datetime(2024, 1, 2, 9, 30, 0, 0));
    assert_eq!(lines[0].customer, Some(pseudonyms().pseudonym("c1")));
    assert!(lines.iter().all(|line| line.status == LineStatus::Sold && line.unit_price.is_some()));
    assert_eq!((report.rows, report.other_events, report.rejected_total), (7, 2, 2));
    let rejected: Vec<_> = report.rejected.iter().map(|row| (row.line, row.code, row.reason.as_str())).collect();
    assert_eq!(
        rejected,
        [(5, "number", "quantity `many` is no number"), (6, "json", "no JSON object: the line ends too early"),]
    );
    assert_eq!(report.rejected[0].column.as_deref(), Some("items[].quantity"));
    let text = report.to_string();
    assert!(text.contains("line 5, column items[].quantity: quantity `many` is no number"), "{text}");
    assert!(text.contains("orders are the events purchase, returns refund; 2 other events passed over"), "{text}");
}

#[test]
fn which_events_are_orders_is_a_choice_of_the_mapping() {
    let table = open(LOG.as_bytes()).unwrap();
    let mut mapping = guess(TableKind::Orders, &table).unwrap();
    mapping.order_events = vec!["ORDER_SHIPPED".to_owned()];
    mapping.return_events.clear();
    let (lines, _) = read(&table, &mapping).unwrap();
    assert_eq!(lines.iter().map(|line| line.at.date().day()).collect::<Vec<_>>(), [3]);
    mapping.columns.remove("event");
    let error = read(&table, &mapping).unwrap_err().to_string();
    assert!(error.contains("no column for `event`"), "{error}");
}

#[test]
fn a_log_without_a_field_that_may_be_absent_still_fits_its_mapping_and_the_report_says_so() {
    let mapping = guess(TableKind::Orders, &open(LOG.as_bytes()).unwrap()).unwrap();
    let anonymous = r#"{"event":"purchase","timestamp":"2024-01-06T09:30:00Z","order":{"id":9},"items":[{"sku":"mug","quantity":2}]}"#;
    let table = open(anonymous.as_bytes()).unwrap();
    let (lines, report) = read(&table, &mapping).unwrap();
    assert_eq!((lines.len(), lines[0].customer), (1, None));
    assert_eq!(report.absent.keys().collect::<Vec<_>>(), ["customer_id", "unit_price"]);
    let misspelt = anonymous.replace("quantity", "quantty");
    let error = read(&open(misspelt.as_bytes()).unwrap(), &mapping).unwrap_err().to_string();
    assert!(error.contains("takes `quantity` from the column `items[].quantity`"), "{error}");
}

#[test]
fn columns_of_two_lists_are_refused_and_never_guessed_together() {
    let log = r#"{"order_id":1,"date":"2024-01-02","items":[{"sku":"mug","qty":1}],"payments":[{"price":3}]}"#;
    let table = open(log.as_bytes()).unwrap();
    let mut mapping = guess(TableKind::Orders, &table).unwrap();
    assert_eq!(mapping.columns.get("unit_price"), None);
    mapping.columns.insert("unit_price".into(), "payments[].price".into());
    let error = read(&table, &mapping).unwrap_err().to_string();
    assert!(error.contains("two lists of one object, `items[].qty` and `payments[].price`"), "{error}");
}

#[test]
fn counts_of_seconds_are_recognised_as_times_and_vague_names_are_not_taken() {
    let log = r#"{"order_id":1,"ts":1704187800,"sku":"mug","qty":2,"payment":{"amount":9.0}}"#;
    let table = open(log.as_bytes()).unwrap();
    let mapping = guess(TableKind::Orders, &table).unwrap();
    assert_eq!(mapping.date_formats, ["unix"]);
    assert_eq!(mapping.columns["quantity"], "qty");
    assert_eq!(read(&table, &mapping).unwrap().0[0].at, datetime(2024, 1, 2, 9, 30, 0, 0));
}

#[test]
fn a_number_of_the_file_is_read_with_a_point_where_people_write_commas() {
    let log = "{\"order_id\":1,\"date\":\"2024-01-02\",\"sku\":\"mug\",\"qty\":1,\"price\":1.125}\n\
               {\"order_id\":2,\"date\":\"2024-01-02\",\"sku\":\"mug\",\"qty\":1,\"price\":\"1,125\"}\n";
    let table = open(log.as_bytes()).unwrap();
    let mut mapping = guess(TableKind::Orders, &table).unwrap();
    mapping.decimal_comma = true;
    let prices: Vec<_> = read(&table, &mapping).unwrap().0.iter().map(|line| line.unit_price).collect();
    assert_eq!(prices, [Some(1.125), Some(1.125)]);
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use std::sync::Arc;

    use parquet::{
        basic::{Compression, ZstdLevel},
        data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };

    use super::*;

    /// Three orders, the second without a customer, as pandas writes such a table.
    pub(super) fn flat(compression: Compression) -> Vec<u8> {
        let schema = "message schema {
            required int64 InvoiceNo;
            optional double CustomerID;
            required binary StockCode (UTF8);
            required int64 InvoiceDate (TIMESTAMP(NANOS,false));
            required int32 Quantity;
            required int32 UnitPrice (DECIMAL(9,2));
            required fixed_len_byte_array(12) Age (INTERVAL);
        }";
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        macro_rules! column {
            ($kind:ty, $values:expr, $levels:expr) => {{
                let mut column = group.next_column().unwrap().unwrap();
                column.typed::<$kind>().write_batch($values, $levels, None).unwrap();
                column.close().unwrap();
            }};
        }
        column!(Int64Type, &[7, 8, 9], None);
        column!(DoubleType, &[17850.0, 3.0], Some(&[1, 0, 1]));
        column!(ByteArrayType, &["mug", "saw", "Übertopf"].map(ByteArray::from), None);
        let at = 1_704_187_800_000_000_000;
        column!(Int64Type, &[at, at, at + 86_400_000_000_000], None);
        column!(Int32Type, &[2, 1, -4], None);
        column!(Int32Type, &[450, 1999, 7], None);
        let intervals: Vec<_> = (0..3).map(|_| parquet::data_type::FixedLenByteArray::from(vec![0; 12])).collect();
        column!(parquet::data_type::FixedLenByteArrayType, &intervals, None);
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn a_parquet_file_is_read_like_the_table_that_it_is() {
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
        ] {
            let (lines, report) = orders(&flat(compression));
            assert_eq!((lines.len(), report.rows, report.counted_in), (3, 3, "row"), "{report}");
            assert_eq!(lines[0].customer, Some(pseudonyms().pseudonym("17850")));
            assert_eq!((lines[1].customer, lines[2].product.as_str()), (None, "Übertopf"));
            assert_eq!(lines[2].at, datetime(2024, 1, 3, 9, 30, 0, 0));
            let prices: Vec<_> = lines.iter().map(|line| line.unit_price.unwrap()).collect();
            assert_eq!(prices, [4.5, 19.99, 0.07]);
        }
    }

    #[test]
    fn a_parquet_file_that_was_imported_is_known_and_one_with_more_rows_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let importer = crate::data::store::Importer::open(dir.path()).unwrap();
        let import = |compression| {
            let input = Input::bytes("orders.parquet", &flat(compression));
            importer.import(&input, &crate::data::store::ImportOptions::default()).unwrap()
        };
        assert_eq!(import(Compression::SNAPPY).imported, 3);
        let again = import(Compression::SNAPPY);
        assert!(again.imported_before.is_some() && again.rows == 0, "{again}");
        let other = import(Compression::UNCOMPRESSED);
        assert_eq!((other.rows, other.known, other.imported), (3, 3, 0));
    }

    #[test]
    fn a_rejected_row_of_a_parquet_file_has_its_number_and_column() {
        let bytes = flat(Compression::SNAPPY);
        let table = open(&bytes).unwrap();
        let mut mapping = guess(TableKind::Orders, &table).unwrap();
        mapping.columns.insert("unit_price".into(), "StockCode".into());
        let text = read(&table, &mapping).unwrap().1.to_string();
        assert!(text.contains("row 3, column StockCode: unit_price `Übertopf` is no number"), "{text}");
    }

    #[test]
    fn items_in_a_list_of_a_parquet_file_become_lines() {
        let schema = "message schema {
            required int64 order_id;
            required int32 date (DATE);
            optional group items (LIST) { repeated group list { required group element {
                required binary sku (UTF8); required int32 quantity;
            } } }
        }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let (definition, repetition): ([i16; 3], [i16; 3]) = ([2, 2, 1], [0, 1, 0]);
        macro_rules! column {
            ($kind:ty, $values:expr, $levels:expr) => {{
                let levels: Option<(&[i16], &[i16])> = $levels;
                let mut column = group.next_column().unwrap().unwrap();
                let (definition, repetition) = (levels.map(|l| l.0), levels.map(|l| l.1));
                column.typed::<$kind>().write_batch($values, definition, repetition).unwrap();
                column.close().unwrap();
            }};
        }
        column!(Int64Type, &[7, 8], None);
        column!(Int32Type, &[19_724, 19_725], None);
        column!(ByteArrayType, &["mug", "saw"].map(ByteArray::from), Some((&definition[..], &repetition[..])));
        column!(Int32Type, &[2, 1], Some((&definition[..], &repetition[..])));
        group.close().unwrap();
        let (lines, report) = orders(&writer.into_inner().unwrap());
        let shown: Vec<_> =
            lines.iter().map(|line| (line.order.as_str(), line.product.as_str(), line.quantity)).collect();
        assert_eq!(shown, [("7", "mug", 2.0), ("7", "saw", 1.0)]);
        assert_eq!(lines[0].at.date(), jiff::civil::date(2024, 1, 2));
        assert_eq!((report.rows, report.rejected[0].line, report.rejected[0].code), (3, 2, "missing-value"));
    }

    #[test]
    fn a_parquet_file_that_breaks_off_is_refused() {
        let bytes = flat(Compression::SNAPPY);
        for length in [8, bytes.len() / 2, bytes.len() - 1] {
            let error = open(&bytes[..length]).unwrap_err();
            assert!(matches!(error, IngestError::Parquet { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_damage_to_a_parquet_file_gets_past_an_error(
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
        ) {
            let mut bytes = flat(Compression::SNAPPY);
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(table) = open(&bytes)
                && let Ok(mapping) = guess(TableKind::Orders, &table)
            {
                let _ = read(&table, &mapping);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_mutation_of_an_event_log_makes_it_panic_or_lose_a_row(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..8)
    ) {
        let mut bytes = LOG.as_bytes().to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        if let Ok(table) = open(&bytes)
            && let Ok(mapping) = guess(TableKind::Orders, &table)
        {
            let (lines, report) = read(&table, &mapping).unwrap();
            prop_assert_eq!(lines.len() as u64 + report.rejected_total + report.other_events, report.rows);
        }
    }
}
