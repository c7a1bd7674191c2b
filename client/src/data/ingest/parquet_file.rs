//! Parquet files, by the row reader of the parquet crate: one batch of rows in memory, nested columns as objects.
//!
//! A damaged file can make the decoder panic; that is caught here and said in a sentence. Times are the wall clock of
//! UTC where the file says that they are instants. Left out: columns of a type that no order has (intervals), and the
//! codecs Brotli and LZO.

use std::{
    collections::HashSet,
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use jiff::{Timestamp, civil::Date, tz::Offset};
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit},
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, Row as ParquetRow, reader::RowIter},
    schema::types::Type,
};
use serde_json::{Map, Number, Value};

use super::{
    IngestError,
    input::{Input, Source},
    objects::{Discovery, ObjectRows, list_of},
    reading::{Reading, SAMPLE},
    row::Row,
};
use crate::data::order::plus_days;

/// Column names and values of the first rows.
pub(super) fn discover(input: &Input) -> Result<(Vec<String>, Vec<Vec<String>>), IngestError> {
    let mut rows = Rows::open(input, |_| true)?;
    let mut discovery = Discovery::default();
    for _ in 0..SAMPLE {
        match rows.next()? {
            Some(object) => discovery.add(&object, SAMPLE),
            None => break,
        }
    }
    Ok(discovery.finish())
}

/// Rows of a Parquet file as objects.
struct Rows {
    name: String,
    rows: RowIter<'static>,
    nanoseconds: HashSet<String>,
}

impl Rows {
    /// Opens a file and reads the top-level columns that are wanted, as far as their types can be read.
    fn open(input: &Input, wanted: impl Fn(&str) -> bool) -> Result<Self, IngestError> {
        let name = input.name().to_owned();
        let damaged = |reason: String| IngestError::Parquet { file: name.clone(), reason };
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let reader = open(input)?;
            let schema = reader.metadata().file_metadata().schema_descr_ptr();
            let nanoseconds = schema.columns().iter().filter(|column| {
                matches!(column.logical_type_ref(), Some(LogicalType::Timestamp(kind)) if kind.unit == TimeUnit::NANOS)
            });
            let nanoseconds = nanoseconds.map(|column| column.path().string()).collect();
            let root = schema.root_schema();
            let fields: Vec<Arc<Type>> =
                root.get_fields().iter().filter(|field| wanted(field.name()) && is_readable(field)).cloned().collect();
            let projection = Type::group_type_builder(root.name()).with_fields(fields).build()?;
            let rows = RowIter::from_file_into(reader).project(Some(projection))?;
            Ok::<_, ParquetError>((rows, nanoseconds))
        }));
        match opened {
            Ok(Ok((rows, nanoseconds))) => Ok(Self { name, rows, nanoseconds }),
            Ok(Err(error)) => Err(damaged(error.to_string())),
            Err(_) => Err(damaged("its metadata make no sense".to_owned())),
        }
    }

    fn next(&mut self) -> Result<Option<Map<String, Value>>, IngestError> {
        let reason = match catch_unwind(AssertUnwindSafe(|| self.rows.next())) {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(row))) => return Ok(Some(object(&row, "", &self.nanoseconds))),
            Ok(Some(Err(error))) => error.to_string(),
            Err(_) => "a page makes no sense".to_owned(),
        };
        Err(IngestError::Parquet { file: self.name.clone(), reason })
    }
}

fn open(input: &Input) -> Result<Box<dyn FileReader>, ParquetError> {
    Ok(match input.source() {
        Source::File(path) => Box::new(SerializedFileReader::new(File::open(path)?)?),
        Source::Bytes(bytes) => Box::new(SerializedFileReader::new(Bytes::from_owner(Arc::clone(bytes)))?),
        Source::Answer(_) => return Err(ParquetError::General("a query has no Parquet file".to_owned())),
    })
}

/// Whether the row reader knows the types within a column.
fn is_readable(column: &Type) -> bool {
    match column {
        Type::PrimitiveType { basic_info, .. } => basic_info.converted_type() != ConvertedType::INTERVAL,
        Type::GroupType { fields, .. } => fields.iter().all(|field| is_readable(field)),
    }
}

fn object(row: &ParquetRow, prefix: &str, nanoseconds: &HashSet<String>) -> Map<String, Value> {
    row.get_column_iter()
        .map(|(name, field)| {
            let path = match (nanoseconds.is_empty(), prefix) {
                (true, _) => String::new(),
                (false, "") => name.clone(),
                (false, _) => format!("{prefix}.{name}"),
            };
            (name.clone(), value(field, &path, nanoseconds))
        })
        .collect()
}

fn value(field: &Field, path: &str, nanoseconds: &HashSet<String>) -> Value {
    let fraction = |value: f64| Number::from_f64(value).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => Value::Bool(*flag),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) if nanoseconds.contains(path) => instant(Timestamp::from_nanosecond(i128::from(*number))),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float16(number) => fraction(f64::from(number.to_f32())),
        // By way of its text: 4.35 must not become 4.349999904632568.
        Field::Float(number) => number.to_string().parse().map_or(Value::Null, fraction),
        Field::Double(number) => fraction(*number),
        Field::Decimal(_) => {
            let text = field.to_string();
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => whole.into(),
                (_, Ok(number)) => fraction(number),
                _ => Value::String(text),
            }
        }
        Field::Str(text) => Value::String(text.clone()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => Value::String(data_encoding::HEXLOWER.encode(bytes.data())),
        },
        Field::Date(days) => Value::String(plus_days(Date::constant(1970, 1, 1), i64::from(*days)).to_string()),
        Field::TimeMillis(_) | Field::TimeMicros(_) => Value::String(field.to_string()),
        Field::TimestampMillis(millis) => instant(Timestamp::from_millisecond(*millis)),
        Field::TimestampMicros(micros) => instant(Timestamp::from_microsecond(*micros)),
        Field::Group(row) => Value::Object(object(row, path, nanoseconds)),
        Field::ListInternal(list) => {
            let path = if path.is_empty() { String::new() } else { format!("{path}.list.element") };
            Value::Array(list.elements().iter().map(|element| value(element, &path, nanoseconds)).collect())
        }
        Field::MapInternal(_) => Value::Null,
    }
}

fn instant(timestamp: Result<Timestamp, jiff::Error>) -> Value {
    timestamp.map_or(Value::Null, |timestamp| Value::String(Offset::UTC.to_datetime(timestamp).to_string()))
}

/// The rows of a Parquet file, numbered from 1.
pub(super) struct ParquetRows {
    file: Rows,
    number: u64,
    rows: ObjectRows,
}

impl ParquetRows {
    /// All rows; columns that are not wanted are not decoded.
    pub fn new(input: &Input, header: &[String], wanted: &[bool]) -> Result<Self, IngestError> {
        let roots: HashSet<&str> = header
            .iter()
            .zip(wanted)
            .filter(|(_, wanted)| **wanted)
            .map(|(column, _)| list_of(column).unwrap_or(column))
            .filter_map(|path| path.split('.').next())
            .collect();
        // A name with a dot in it is a name all the same.
        let whole: HashSet<&str> = header.iter().map(String::as_str).collect();
        let file = Rows::open(input, |name| roots.contains(name) || name.contains('.') && whole.contains(name))?;
        Ok(Self { file, number: 0, rows: ObjectRows::new(header, wanted) })
    }
}

impl Reading for ParquetRows {
    fn read(&mut self, row: &mut Row) -> Result<bool, IngestError> {
        if self.rows.read(row) {
            return Ok(true);
        }
        let Some(object) = self.file.next()? else { return Ok(false) };
        self.number += 1;
        self.rows.take(self.number, Ok(object), row);
        Ok(true)
    }
}
