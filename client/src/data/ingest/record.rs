//! Splitting text into records (RFC 4180), with exact line numbers and a way out of stray quotes.
//!
//! A quote that is never closed would swallow the rest of a file. Here a quoted field has a greatest length, and a
//! record that went wrong over several lines is reported on its first line while reading goes on with the next. The
//! text comes in pieces: a record whose end might lie in the next piece is asked for again with more text.

use super::{report::RowError, row::Row};

/// Longest quoted field in bytes.
const QUOTED_MAX: usize = 64 * 1024;
/// Bytes that must follow what was looked at before a piece of text is known not to matter: the rest of a CRLF.
const MARGIN: usize = 2;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Position in the piece at hand.
    pub at: usize,
    /// Line, from 1.
    pub line: u64,
}

/// What came of looking for a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record, or a line that is none (the row says so); the next one begins here.
    Record(Place),
    /// The end of the text.
    End(Place),
    /// Its end is not in this piece of text.
    MoreNeeded,
}

/// How records are split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Splitter {
    /// Between fields.
    pub delimiter: u8,
    /// Fields that a record must have; records over several lines with another number are broken quotes.
    pub width: Option<usize>,
}

impl Splitter {
    /// Reads the record at `from` into `row`. `whole` says that no text follows `bytes`.
    pub fn next(&self, bytes: &[u8], from: Place, whole: bool, row: &mut Row) -> Found {
        let mut place = from;
        while place.at < bytes.len() && is_end_of_line(bytes, place.at) {
            place = Place { at: after_end_of_line(bytes, place.at), line: place.line + 1 };
        }
        if place.at >= bytes.len() {
            return if whole { Found::End(place) } else { Found::MoreNeeded };
        }
        row.clear(place.line);
        let mut reach = place.at;
        let end = self.fields(bytes, place.at, &mut reach, row);
        if !whole && reach + MARGIN >= bytes.len() {
            return Found::MoreNeeded;
        }
        if let Some(end) = end {
            let lines = lines_between(bytes, place.at, end);
            if lines == 0 || self.width.is_none_or(|width| width == row.len()) {
                return Found::Record(Place { at: after_end_of_line(bytes, end), line: place.line + lines + 1 });
            }
        }
        row.clear(place.line);
        row.error = Some(RowError::Quote);
        let length = bytes[place.at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let end = length.map_or(bytes.len(), |length| place.at + length);
        if !whole && end + MARGIN >= bytes.len() {
            return Found::MoreNeeded;
        }
        Found::Record(Place { at: after_end_of_line(bytes, end), line: place.line + 1 })
    }

    /// Splits the record at `at`; the position of its end of line, or `None` for a broken quote. `reach` becomes the
    /// furthest position looked at.
    fn fields(&self, bytes: &[u8], mut at: usize, reach: &mut usize, row: &mut Row) -> Option<usize> {
        loop {
            let end = if bytes.get(at) == Some(&b'"') {
                self.quoted(bytes, at + 1, reach, row)?
            } else {
                let length = bytes[at..]
                    .iter()
                    .position(|byte| *byte == self.delimiter || matches!(byte, b'\n' | b'\r'))
                    .unwrap_or(bytes.len() - at);
                row.extend(&bytes[at..at + length]);
                at + length
            };
            row.end_cell();
            *reach = (*reach).max(end);
            if is_end_of_line(bytes, end) {
                return Some(end);
            }
            at = end + 1;
        }
    }

    /// The quoted field that begins after its quote at `start`; the position after the closing quote.
    fn quoted(&self, bytes: &[u8], start: usize, reach: &mut usize, row: &mut Row) -> Option<usize> {
        let limit = bytes.len().min(start + QUOTED_MAX);
        let (mut copied, mut at) = (start, start);
        *reach = (*reach).max(limit);
        loop {
            at += bytes.get(at..limit)?.iter().position(|byte| *byte == b'"')?;
            if bytes.get(at + 1) != Some(&b'"') {
                break;
            }
            row.extend(&bytes[copied..=at]);
            at += 2;
            copied = at;
        }
        // Closed within the limit: nothing beyond the quote mattered.
        *reach = at + 1;
        let end = at + 1;
        if !is_end_of_line(bytes, end) && bytes[end] != self.delimiter {
            return None;
        }
        row.extend(&bytes[copied..at]);
        Some(end)
    }
}

fn is_end_of_line(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), None | Some(b'\n' | b'\r'))
}

/// Position after the end of line at `at`: CRLF, LF or CR.
fn after_end_of_line(bytes: &[u8], at: usize) -> usize {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => at + 2,
        (Some(_), _) => at + 1,
        (None, _) => at,
    }
}

fn lines_between(bytes: &[u8], from: usize, to: usize) -> u64 {
    let mut lines = 0;
    let mut at = from;
    while let Some(offset) = bytes.get(at..to).and_then(|rest| rest.iter().position(|b| matches!(b, b'\n' | b'\r'))) {
        at = after_end_of_line(bytes, at + offset);
        lines += 1;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a text that arrives in pieces of `piece` bytes.
    fn records_in_pieces(text: &str, piece: usize) -> Vec<(u64, Option<Vec<String>>)> {
        let (bytes, splitter) = (text.as_bytes(), Splitter { delimiter: b',', width: Some(2) });
        let (mut place, mut length, mut row) = (Place { at: 0, line: 1 }, 0, Row::default());
        let mut records = Vec::new();
        loop {
            match splitter.next(&bytes[..length], place, length == bytes.len(), &mut row) {
                Found::Record(next) => {
                    let cells = (0..row.len()).map(|at| String::from_utf8(row.cell(at).to_vec()).unwrap()).collect();
                    records.push((row.number, row.error.is_none().then_some(cells)));
                    place = next;
                }
                Found::MoreNeeded => length = bytes.len().min(length + piece),
                Found::End(_) => return records,
            }
        }
    }

    fn records(text: &str) -> Vec<(u64, Option<Vec<String>>)> {
        let whole = records_in_pieces(text, text.len().max(1));
        for piece in 1..8 {
            assert_eq!(records_in_pieces(text, piece), whole, "{text:?} in pieces of {piece}");
        }
        whole
    }

    fn pair(line: u64, a: &str, b: &str) -> (u64, Option<Vec<String>>) {
        (line, Some(vec![a.to_owned(), b.to_owned()]))
    }

    #[test]
    fn quotes_commas_and_line_breaks_inside_a_field_are_kept() {
        let text = "\"a,1\",\"say \"\"hi\"\"\"\r\n\"two\nlines\",x\nlast,\"\"";
        assert_eq!(records(text), [pair(1, "a,1", "say \"hi\""), pair(2, "two\nlines", "x"), pair(4, "last", "")]);
    }

    #[test]
    fn blank_lines_count_as_lines_but_are_no_records() {
        assert_eq!(records("a,b\n\n\r\nc,d\re,f\n"), [pair(1, "a", "b"), pair(4, "c", "d"), pair(5, "e", "f")]);
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_line_only() {
        assert_eq!(records("a,b\n\"bad,x\nc,d\n"), [pair(1, "a", "b"), (2, None), pair(3, "c", "d")]);
    }

    #[test]
    fn two_stray_quotes_do_not_swallow_the_lines_between_them() {
        let text = "\"bad,1\nc,d\n\"bad,2\ne,f\n";
        assert_eq!(records(text), [(1, None), pair(2, "c", "d"), (3, None), pair(4, "e", "f")]);
    }

    #[test]
    fn text_after_a_closing_quote_is_an_error_of_that_row() {
        assert_eq!(records("\"a\"b,c\nd,e"), [(1, None), pair(2, "d", "e")]);
    }

    #[test]
    fn a_quote_inside_a_plain_field_is_a_character() {
        assert_eq!(records("12\" pan,3"), [pair(1, "12\" pan", "3")]);
    }

    #[test]
    fn a_quoted_field_has_a_greatest_length_wherever_the_text_is_cut() {
        let text = format!("\"{}\",b\nc,d\n", "x".repeat(QUOTED_MAX + 1));
        for piece in [1 << 12, 1 << 16, 1 << 20] {
            assert_eq!(records_in_pieces(&text, piece), [(1, None), pair(2, "c", "d")]);
        }
        let text = format!("\"{}\",b\nc,d\n", "x".repeat(QUOTED_MAX - 1));
        for piece in [1 << 12, 1 << 16, 1 << 20] {
            assert_eq!(records_in_pieces(&text, piece).len(), 2);
        }
    }
}
