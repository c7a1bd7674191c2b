//! What a task file must say that its types do not enforce.

use forecastle_client::data::series::Frequency;

use super::{
    DatasetError,
    task::{Role, Task},
};

impl Task {
    /// Names the first field that contradicts another or lies outside its range.
    pub(super) fn check(&self) -> Result<(), DatasetError> {
        if self.name.is_empty() || !self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            return Err(self.field("name", "use letters, digits, _ and - only"));
        }
        for (field, value, max) in [
            ("evaluation.horizon", self.evaluation.horizon, 1024),
            ("evaluation.windows", self.evaluation.windows, 1000),
            ("evaluation.season", self.evaluation.season, 512),
            ("evaluation.minimum_history", self.evaluation.minimum_history, 100_000),
        ] {
            if value == 0 || value > max {
                return Err(self.field(field, format!("{value} is not within 1..={max}")));
            }
        }
        for (field, file) in [("rows.file".to_owned(), Some(&self.rows.file))]
            .into_iter()
            .chain(
                self.rows.join.iter().enumerate().map(|(i, join)| (format!("rows.join[{i}].file"), Some(&join.file))),
            )
            .chain(self.known.iter().enumerate().map(|(i, known)| (format!("known[{i}].file"), known.file.as_ref())))
        {
            if let Some(file) = file
                && !self.files.contains_key(file)
            {
                return Err(self.field(field, format!("{file:?} is not named under [files]")));
            }
        }
        for (i, join) in self.rows.join.iter().enumerate() {
            if join.on.is_empty() {
                return Err(self.field(format!("rows.join[{i}].on"), "name at least one column"));
            }
        }
        for (i, known) in self.known.iter().enumerate() {
            if known.file.is_some() != known.date.is_some() {
                return Err(self.field(format!("known[{i}].date"), "file and date are given together or not at all"));
            }
            if known.role == Role::Holiday && (known.file.is_none() || !known.on.is_empty()) {
                return Err(self.field(format!("known[{i}]"), "holidays come from a file with dates, without on"));
            }
        }
        if self.series.merchant_modulo == Some(0) {
            return Err(self.field("series.merchant_modulo", "must be at least 1"));
        }
        if self.series.top.as_ref().is_some_and(|top| top.count == 0) {
            return Err(self.field("series.top.count", "must be at least 1"));
        }
        if self.series.date.monday && self.frequency == Frequency::Daily {
            return Err(self.field("series.date.monday", "only weekly series begin on Monday"));
        }
        let kept = self.rows.keep.iter().map(|c| ("rows.keep", c));
        let lines = self.orders.iter().flat_map(|orders| orders.keep.iter().map(|c| ("orders.keep", c)));
        for (field, condition) in kept.chain(lines) {
            let tests = condition.tests();
            if tests != 1 {
                let why = format!("column {:?} has {tests} tests; give exactly one", condition.column);
                return Err(self.field(field, why));
            }
        }
        Ok(())
    }
}
