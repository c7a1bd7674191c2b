//! Nested objects as rows: `customer.id` is a field within a field, `items[].sku` one of each element of a list.
//!
//! An object becomes one row, or one row for each element of the list that its mapped columns lie in; what lies outside
//! the list is repeated. Left out: lists within lists, and rows from two lists of one object.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Number, Value};

use super::{
    fields::VECTOR,
    reading::{COLUMNS_MAX, SAMPLE_VALUE_MAX},
    report::RowError,
    row::Row,
};

/// Written behind the name of a list whose elements become rows.
const EACH: &str = "[]";
/// Deepest nesting that is looked into.
const DEPTH_MAX: usize = 8;

/// Column names of objects, in the order in which they are met, and values of them.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    columns: Vec<String>,
    at: HashMap<String, usize>,
    values: Vec<Vec<String>>,
}

impl Discovery {
    /// Takes in an object; keeps at most `limit` values a column.
    pub fn add(&mut self, object: &Map<String, Value>, limit: usize) {
        self.walk("", object, limit, DEPTH_MAX, false);
    }

    /// The columns, and the values of each.
    pub fn finish(self) -> (Vec<String>, Vec<Vec<String>>) {
        (self.columns, self.values)
    }

    fn walk(&mut self, prefix: &str, object: &Map<String, Value>, limit: usize, depth: usize, in_list: bool) {
        for (name, value) in object {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Object(inner) if depth > 0 => self.walk(&path, inner, limit, depth - 1, in_list),
                Value::Array(_) if is_vector(name, value) => self.leaf(path, value, limit),
                Value::Array(elements) if depth > 0 && !in_list => {
                    let path = format!("{path}{EACH}");
                    for element in elements.iter().filter_map(Value::as_object) {
                        self.walk(&path, element, limit, depth - 1, true);
                    }
                }
                Value::Object(_) | Value::Array(_) => {}
                leaf => self.leaf(path, leaf, limit),
            }
        }
    }

    fn leaf(&mut self, path: String, value: &Value, limit: usize) {
        let at = match self.at.get(&path) {
            Some(at) => *at,
            None if self.columns.len() == COLUMNS_MAX => return,
            None => {
                self.at.insert(path.clone(), self.columns.len());
                self.columns.push(path);
                self.values.push(Vec::new());
                self.columns.len() - 1
            }
        };
        let mut row = Row::default();
        push(&mut row, Some(value));
        let text = String::from_utf8_lossy(row.cell(0)).trim().to_owned();
        if (1..=SAMPLE_VALUE_MAX).contains(&text.len()) && self.values[at].len() < limit {
            self.values[at].push(text);
        }
    }
}

/// The list that a column lies in: `items` of `items[].sku`.
pub(super) fn list_of(column: &str) -> Option<&str> {
    column.find(EACH).map(|at| &column[..at])
}

/// The columns wanted of each object, and the list whose elements become rows.
pub(super) struct Projection {
    /// For each column its path and whether it lies in the list; `None` for a column that nobody reads.
    paths: Vec<Option<(Vec<String>, bool)>>,
    list: Option<Vec<String>>,
}

impl Projection {
    /// `wanted` says of each column of the header whether it is read. Their lists must be the same.
    pub fn new(header: &[String], wanted: &[bool]) -> Self {
        let keys = |path: &str| path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let mut list = None;
        let paths = header
            .iter()
            .zip(wanted)
            .map(|(column, wanted)| {
                wanted.then(|| match column.split_once(EACH) {
                    Some((before, rest)) => {
                        list = Some(keys(before));
                        (keys(rest), true)
                    }
                    None => (keys(column), false),
                })
            })
            .collect();
        Self { paths, list }
    }

    /// Rows that an object becomes: at least one, so that an object without elements is seen too.
    pub fn rows(&self, object: &Map<String, Value>) -> usize {
        self.elements(object).map_or(1, |elements| elements.len().max(1))
    }

    /// Fills `row` with row `index` of an object.
    pub fn fill(&self, object: &Map<String, Value>, index: usize, row: &mut Row) {
        let element = self.elements(object).and_then(|elements| elements.get(index)).and_then(Value::as_object);
        for path in &self.paths {
            let value = path.as_ref().and_then(|(keys, in_list)| {
                let root = if *in_list { element } else { Some(object) };
                find(root?, keys)
            });
            push(row, value);
        }
    }

    fn elements<'a>(&self, object: &'a Map<String, Value>) -> Option<&'a Vec<Value>> {
        find(object, self.list.as_ref()?)?.as_array()
    }
}

/// The value at a path; a name that itself has dots in it is found too.
fn find<'a>(object: &'a Map<String, Value>, keys: &[String]) -> Option<&'a Value> {
    let (last, before) = keys.split_last()?;
    let mut inner = Some(object);
    for key in before {
        inner = inner.and_then(|object| object.get(key)?.as_object());
    }
    inner
        .and_then(|object| object.get(last))
        .or_else(|| if before.is_empty() { None } else { object.get(&keys.join(".")) })
}

/// A value as a cell: numbers with a decimal point and without a needless fraction, so that 17850.0 is the customer 17850.
fn push(row: &mut Row, value: Option<&Value>) {
    match value {
        Some(Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_number) => {
            let numbers: Vec<String> = list.iter().map(Value::to_string).collect();
            row.push(numbers.join(" ").as_bytes());
        }
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => row.push(b""),
        Some(Value::Bool(flag)) => row.push(if *flag { b"true" } else { b"false" }),
        Some(Value::String(text)) => row.push(text.as_bytes()),
        Some(Value::Number(number)) => row.push_number(&plain(number)),
    }
}

/// Whether a value is a list of numbers under a name that vectors usually have; other lists are no cell.
fn is_vector(name: &str, value: &Value) -> bool {
    let name: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    VECTOR.contains(&name.as_str())
        && value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_number))
}

fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
        _ => number.to_string(),
    }
}

/// One object at a time as rows, whatever it comes from.
pub(super) struct ObjectRows {
    projection: Projection,
    object: Map<String, Value>,
    number: u64,
    next: usize,
    count: usize,
}

impl ObjectRows {
    pub fn new(header: &[String], wanted: &[bool]) -> Self {
        Self { projection: Projection::new(header, wanted), object: Map::new(), number: 0, next: 0, count: 0 }
    }

    /// Takes an object, or a line that is none.
    pub fn take(&mut self, number: u64, object: Result<Map<String, Value>, RowError>, row: &mut Row) {
        match object {
            Ok(object) => {
                self.count = self.projection.rows(&object);
                (self.object, self.number, self.next) = (object, number, 0);
                self.read(row);
            }
            Err(error) => {
                row.clear(number);
                row.error = Some(error);
            }
        }
    }

    /// The next row of the object at hand; false when there is none.
    pub fn read(&mut self, row: &mut Row) -> bool {
        if self.next >= self.count {
            return false;
        }
        row.clear(self.number);
        self.projection.fill(&self.object, self.next, row);
        self.next += 1;
        true
    }
}

/// Lists that mapped columns lie in, with one of the columns each: more than one cannot be read together.
pub(super) fn lists<'a>(columns: impl Iterator<Item = &'a String>) -> BTreeMap<&'a str, &'a str> {
    columns.filter_map(|column| Some((list_of(column)?, column.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn each_element_of_a_list_becomes_a_row_beside_what_lies_outside_it() {
        let order = object(json!({
            "order": {"id": 7, "when": "2024-01-02"}, "flat.name": "x",
            "items": [{"sku": "mug", "price": {"amount": 4.5}}, {"sku": "saw"}], "tags": ["a", "b"],
        }));
        let mut discovery = Discovery::default();
        discovery.add(&order, 10);
        let (mut header, values) = discovery.finish();
        let at = header.iter().position(|column| column == "items[].sku").unwrap();
        assert_eq!(values[at], ["mug", "saw"]);
        header.sort();
        assert_eq!(header, ["flat.name", "items[].price.amount", "items[].sku", "order.id", "order.when"]);
        let projection = Projection::new(&header, &[true, true, true, true, false]);
        assert_eq!(projection.rows(&order), 2);
        let mut rows = Vec::new();
        for index in 0..2 {
            let mut row = Row::default();
            projection.fill(&order, index, &mut row);
            rows.push((0..5).map(|at| String::from_utf8(row.cell(at).to_vec()).unwrap()).collect::<Vec<_>>().join("|"));
            assert!(row.is_number(3) && !row.is_number(2));
        }
        assert_eq!(rows, ["x|4.5|mug|7|", "x||saw|7|"]);
        assert_eq!(projection.rows(&object(json!({"order": {"id": 8}, "items": []}))), 1);
    }

    #[test]
    fn a_whole_number_that_was_stored_as_a_fraction_is_written_whole() {
        for (value, expected) in
            [(json!(17850.0), "17850"), (json!(2.5), "2.5"), (json!(u64::MAX), "18446744073709551615")]
        {
            let mut row = Row::default();
            push(&mut row, Some(&value));
            assert_eq!(row.cell(0), expected.as_bytes());
        }
    }
}
