//! JSON lines: one object a line, as event logs are written. Fields are found by the names met in the first lines.

use serde_json::{Map, Value};

use super::{
    IngestError, TableKind,
    input::Text,
    objects::{Discovery, ObjectRows},
    reading::{Reading, SAMPLE},
    record::Place,
    report::RowError,
    row::Row,
    window::{Mark, ROW_BYTES_MAX, Window},
};

/// Column names and values of the first lines.
pub(super) fn discover(name: &str, text: Text) -> Result<(Vec<String>, Vec<Vec<String>>), IngestError> {
    let mut lines = Lines { window: Window::new(text) };
    let mut discovery = Discovery::default();
    let (mut read, mut good) = (0, 0_usize);
    while let Some((_, object)) = lines.next()? {
        read += 1;
        if let Ok(object) = object {
            good += 1;
            discovery.add(&object, SAMPLE);
        }
        if read == SAMPLE {
            break;
        }
    }
    let (header, values) = discovery.finish();
    if 2 * good <= read || header.is_empty() {
        return Err(IngestError::NotATable {
            file: name.to_owned(),
            found: "JSON, but not one object a line (`jq -c .` or `jq -c '.[]'` would write it so)",
            expected: TableKind::Orders.expected_header(),
        });
    }
    Ok((header, values))
}

/// A text line by line.
struct Lines {
    window: Window,
}

impl Lines {
    /// The next line that is not blank: its number, and its object or what is wrong with it.
    #[allow(clippy::type_complexity, reason = "the pair is taken apart at once by both callers")]
    fn next(&mut self) -> Result<Option<(u64, Result<Map<String, Value>, RowError>)>, IngestError> {
        loop {
            let (place, bytes) = (self.window.place(), self.window.bytes());
            let rest = &bytes[place.at..];
            let end = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => end,
                None if !self.window.is_whole() && self.window.is_overlong() => {
                    self.window.skip_line()?;
                    let error = RowError::TooLong { column: "the line", limit: ROW_BYTES_MAX };
                    return Ok(Some((place.line, Err(error))));
                }
                None if !self.window.is_whole() => {
                    self.window.more()?;
                    continue;
                }
                None if rest.is_empty() => return Ok(None),
                None => rest.len(),
            };
            let line = rest[..end].trim_ascii();
            let next = Place { at: (place.at + end + 1).min(bytes.len()), line: place.line + 1 };
            let object = (!line.is_empty()).then(|| {
                if line.len() > ROW_BYTES_MAX {
                    return Err(RowError::TooLong { column: "the line", limit: ROW_BYTES_MAX });
                }
                serde_json::from_slice::<Map<String, Value>>(line).map_err(|error| RowError::of_json(line, &error))
            });
            self.window.move_to(next, true);
            if let Some(object) = object {
                return Ok(Some((place.line, object)));
            }
        }
    }
}

/// The rows of JSON lines.
pub(super) struct JsonRows {
    lines: Lines,
    rows: ObjectRows,
}

impl JsonRows {
    /// All rows, or those after what an earlier import read; cells of columns that are not wanted stay empty.
    pub fn new(text: Text, header: &[String], wanted: &[bool], from: Option<&Mark>) -> Result<Self, IngestError> {
        let mut window = Window::new(text);
        if let Some(mark) = from {
            window.skip(mark)?;
        }
        Ok(Self { lines: Lines { window }, rows: ObjectRows::new(header, wanted) })
    }
}

impl Reading for JsonRows {
    fn read(&mut self, row: &mut Row) -> Result<bool, IngestError> {
        if self.rows.read(row) {
            return Ok(true);
        }
        let Some((number, object)) = self.lines.next()? else { return Ok(false) };
        self.rows.take(number, object, row);
        Ok(true)
    }

    fn mark(&self) -> Option<Mark> {
        Some(self.lines.window.mark())
    }
}
