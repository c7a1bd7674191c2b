//! Splitting a table's bytes into records (RFC 4180), with exact line numbers and a way out of stray quotes.
//!
//! A quote that is never closed would swallow the rest of a file. Here a quoted field has a greatest length, and a
//! record that went wrong over several lines is reported on its first line while reading goes on with the next.

use std::borrow::Cow;

/// Longest quoted field in bytes.
const QUOTED_MAX: usize = 64 * 1024;

/// A record with the line on which it begins (the first line of a file is 1).
#[derive(Debug, PartialEq)]
pub(super) struct Record<'a> {
    pub line: u64,
    /// `None` when a quote was not closed or text follows a closing quote.
    pub fields: Option<Vec<Cow<'a, [u8]>>>,
}

/// Iterator over the records of a table's bytes.
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
    delimiter: u8,
    /// Fields that a record must have; records over several lines with another number are broken quotes.
    width: Option<usize>,
}

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8], delimiter: u8) -> Self {
        Self { bytes, at: 0, line: 1, delimiter, width: None }
    }

    /// From now on a record over several lines must have this many fields.
    pub fn expect_width(&mut self, width: usize) {
        self.width = Some(width);
    }

    fn is_end_of_line(&self, at: usize) -> bool {
        matches!(self.bytes.get(at), None | Some(b'\n' | b'\r'))
    }

    /// Position after the end of line at `at`: CRLF, LF or CR.
    fn after_end_of_line(&self, at: usize) -> usize {
        match (self.bytes.get(at), self.bytes.get(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => at + 2,
            (Some(_), _) => at + 1,
            (None, _) => at,
        }
    }

    /// The record at `at`: its fields and the position of its end of line.
    fn split(&self, mut at: usize) -> Option<(Vec<Cow<'a, [u8]>>, usize)> {
        let mut fields = Vec::with_capacity(self.width.unwrap_or(8));
        loop {
            let (field, end) = if self.bytes.get(at) == Some(&b'"') {
                self.quoted(at + 1)?
            } else {
                let length = self.bytes[at..]
                    .iter()
                    .position(|byte| *byte == self.delimiter || matches!(byte, b'\n' | b'\r'))
                    .unwrap_or(self.bytes.len() - at);
                (Cow::Borrowed(&self.bytes[at..at + length]), at + length)
            };
            fields.push(field);
            if self.is_end_of_line(end) {
                return Some((fields, end));
            }
            at = end + 1;
        }
    }

    /// The quoted field that begins after its quote at `start`, and the position after the closing quote.
    fn quoted(&self, start: usize) -> Option<(Cow<'a, [u8]>, usize)> {
        let limit = self.bytes.len().min(start + QUOTED_MAX);
        let mut unescaped: Option<Vec<u8>> = None;
        let (mut copied, mut at) = (start, start);
        loop {
            at += self.bytes[at..limit].iter().position(|byte| *byte == b'"')?;
            if self.bytes.get(at + 1) == Some(&b'"') {
                unescaped.get_or_insert_default().extend_from_slice(&self.bytes[copied..=at]);
                at += 2;
                copied = at;
                if at > limit {
                    return None;
                }
            } else {
                break;
            }
        }
        let end = at + 1;
        if !self.is_end_of_line(end) && self.bytes[end] != self.delimiter {
            return None;
        }
        let rest = &self.bytes[copied..at];
        let field = match unescaped {
            None => Cow::Borrowed(rest),
            Some(mut bytes) => {
                bytes.extend_from_slice(rest);
                Cow::Owned(bytes)
            }
        };
        Some((field, end))
    }

    fn lines_between(&self, from: usize, to: usize) -> u64 {
        let mut lines = 0;
        let mut at = from;
        while at < to {
            match self.bytes[at..to].iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                Some(offset) => {
                    at = self.after_end_of_line(at + offset);
                    lines += 1;
                }
                None => break,
            }
        }
        lines
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        while self.at < self.bytes.len() && self.is_end_of_line(self.at) {
            self.at = self.after_end_of_line(self.at);
            self.line += 1;
        }
        if self.at >= self.bytes.len() {
            return None;
        }
        let (line, start) = (self.line, self.at);
        let record = self.split(start).map(|(fields, end)| {
            let lines = self.lines_between(start, end);
            (fields, end, lines)
        });
        match record {
            Some((fields, end, lines)) if lines == 0 || self.width.is_none_or(|width| width == fields.len()) => {
                self.at = self.after_end_of_line(end);
                self.line += lines + 1;
                Some(Record { line, fields: Some(fields) })
            }
            _ => {
                let rest = &self.bytes[start..];
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                self.at = self.after_end_of_line(start + end);
                self.line += 1;
                Some(Record { line, fields: None })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<(u64, Option<Vec<String>>)> {
        let mut records = Records::new(text.as_bytes(), b',');
        records.expect_width(2);
        records
            .map(|record| {
                let fields = record.fields.map(|fields| {
                    fields.iter().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect::<Vec<_>>()
                });
                (record.line, fields)
            })
            .collect()
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
}
