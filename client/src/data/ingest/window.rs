//! The part of a text that is in memory, and what of it was read: the place from which a later import can go on.

use super::{IngestError, input::Text, input::finish, record::Place};

/// Longest row in bytes; a longer one is rejected.
pub(super) const ROW_BYTES_MAX: usize = 16 << 20;

/// Most bytes of rows that are none, at the end of a text, that a later import reads again.
const UNSOUND_BYTES_MAX: usize = 1 << 20;

/// How far a text was read: to the end of its last whole line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bytes of text up to there.
    pub bytes: u64,
    /// The line, or the row, that comes next.
    pub line: u64,
    /// SHA-256 of these bytes.
    pub digest: [u8; 32],
}

/// A text of which a bounded part is in memory.
pub(super) struct Window {
    text: Text,
    buffer: Vec<u8>,
    place: Place,
    /// Where the last row began, while it is still in memory.
    last: Option<Place>,
    /// Where the rows began that came last and were none: one row whose end is missing can look like several.
    unsound: Option<Place>,
    whole: bool,
    /// Of everything before the buffer.
    digest: ring::digest::Context,
    before: u64,
}

impl Window {
    pub fn new(text: Text) -> Self {
        Self {
            text,
            buffer: Vec::new(),
            place: Place { at: 0, line: 1 },
            last: None,
            unsound: None,
            whole: false,
            digest: ring::digest::Context::new(&ring::digest::SHA256),
            before: 0,
        }
    }

    /// What is in memory.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Where reading stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether nothing follows what is in memory.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// A row was read, a sound one or not; the next one begins here.
    pub fn move_to(&mut self, place: Place, is_sound: bool) {
        self.unsound = if is_sound { None } else { self.unsound.or(Some(self.place)) };
        self.last = Some(self.place);
        self.place = place;
    }

    /// Whether a row has become longer than any is.
    pub fn is_overlong(&self) -> bool {
        self.buffer.len() - self.place.at > ROW_BYTES_MAX
    }

    /// Drops what was read and takes in more; at least doubles what is unread, so that a long row costs linear time.
    pub fn more(&mut self) -> Result<(), IngestError> {
        // What may be read again by a later import stays, but not for ever.
        self.unsound = self.unsound.filter(|from| self.place.at - from.at <= UNSOUND_BYTES_MAX);
        let read = self.unsound.map_or(self.place.at, |from| from.at).min(self.buffer.len());
        self.digest.update(&self.buffer[..read]);
        self.before += read as u64;
        self.buffer.drain(..read);
        self.place.at -= read;
        self.unsound = self.unsound.map(|from| Place { at: 0, line: from.line });
        self.last = None;
        let wanted = 2 * self.buffer.len();
        loop {
            if !self.text.next_piece(&mut self.buffer)? {
                self.whole = true;
                return Ok(());
            }
            if self.buffer.len() > wanted {
                return Ok(());
            }
        }
    }

    /// Drops the rest of the line at hand, however long it is.
    pub fn skip_line(&mut self) -> Result<(), IngestError> {
        (self.last, self.unsound) = (None, None);
        loop {
            let rest = &self.buffer[self.place.at..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.place = Place { at: self.place.at + end + 1, line: self.place.line + 1 };
                return Ok(());
            }
            self.place.at = self.buffer.len();
            if self.whole {
                return Ok(());
            }
            self.more()?;
        }
    }

    /// Skips the beginning that an earlier import read; the caller has found it to be there.
    pub fn skip(&mut self, mark: &Mark) -> Result<(), IngestError> {
        while self.before + (self.buffer.len() as u64) < mark.bytes && !self.whole {
            self.place.at = self.buffer.len();
            self.more()?;
        }
        let at = usize::try_from(mark.bytes.saturating_sub(self.before)).unwrap_or(usize::MAX);
        self.place = Place { at: at.min(self.buffer.len()), line: mark.line };
        Ok(())
    }

    /// How far the text was read, counting only whole lines: a last row without its end of line may be half of one.
    pub fn mark(&self) -> Mark {
        let is_torn = self.place.at > 0 && self.buffer.get(self.place.at - 1) != Some(&b'\n');
        let end = self.unsound.or(self.last.filter(|_| is_torn)).unwrap_or(self.place);
        let mut digest = self.digest.clone();
        digest.update(&self.buffer[..end.at.min(self.buffer.len())]);
        Mark { bytes: self.before + end.at as u64, line: end.line, digest: finish(digest) }
    }

    /// The longest of `marks` that this text, read from its beginning, begins with.
    pub fn longest_mark(mut self, marks: &[Mark]) -> Result<Option<Mark>, IngestError> {
        let mut marks = marks.to_vec();
        marks.sort_by_key(|mark| mark.bytes);
        let mut found = None;
        for mark in marks {
            self.skip(&mark)?;
            if self.before + self.place.at as u64 != mark.bytes {
                break;
            }
            let mut digest = self.digest.clone();
            digest.update(&self.buffer[..self.place.at]);
            if finish(digest) == mark.digest {
                found = Some(mark);
            }
        }
        Ok(found)
    }
}
