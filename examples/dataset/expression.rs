//! Templates and numbers of a task file, bound to the columns of the files they name.
//!
//! Binding happens once, so that a misspelt column is reported before the first row and rows are read by
//! position.

use std::collections::HashMap;

use forecastle_client::data::order::{monday_of, plus_days};
use jiff::civil::Date;

use super::{
    Condition, DatasetError,
    table::Table,
    task::{Computed, DateRule, Task, Value},
};

/// A column of one of several files whose rows stand side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Position of the file in the [`Scope`].
    pub file: usize,
    /// Position of the column in it.
    pub column: usize,
}

/// The files whose columns a row offers: its own first, then the joined ones.
pub(super) struct Scope<'a> {
    /// The task, for messages and defaults.
    pub task: &'a Task,
    /// Files in the order in which a column name is looked up.
    pub tables: Vec<&'a Table>,
}

/// One row of a [`Scope`]: a row number a file, `None` where an optional join found no partner.
pub(super) type RowNumbers = [Option<usize>];

impl<'a> Scope<'a> {
    /// Finds a column by name.
    pub fn place(&self, field: &str, name: &str) -> Result<Place, DatasetError> {
        for (file, table) in self.tables.iter().enumerate() {
            if let Some(column) = table.column(name) {
                return Ok(Place { file, column });
            }
        }
        let files: Vec<_> = self.tables.iter().map(|table| table.path().display().to_string()).collect();
        let columns: Vec<_> = self.tables.iter().flat_map(|table| table.names()).map(String::as_str).collect();
        Err(DatasetError::Column {
            task: self.task.name.clone(),
            field: field.into(),
            column: name.into(),
            files: files.join(", "),
            columns: columns.join(", "),
        })
    }

    /// A cell, or the task's default for its column, or nothing.
    pub fn cell(&self, place: Place, rows: &RowNumbers) -> Option<&str> {
        rows[place.file].and_then(|row| self.tables[place.file].cell(place.column, row)).or_else(|| {
            let name = &self.tables[place.file].names()[place.column];
            self.task.rows.default.get(name).map(String::as_str)
        })
    }

    /// The error for a cell that is not what was expected.
    pub fn bad_cell(&self, place: Place, rows: &RowNumbers, expected: &'static str) -> DatasetError {
        let table = self.tables[place.file];
        DatasetError::Cell {
            path: table.path().into(),
            line: rows[place.file].map_or(0, |row| table.line(row)),
            column: table.names()[place.column].clone(),
            value: self.cell(place, rows).unwrap_or_default().into(),
            expected,
        }
    }

    fn number(&self, place: Place, rows: &RowNumbers) -> Result<Option<f64>, DatasetError> {
        let Some(cell) = self.cell(place, rows) else { return Ok(None) };
        match cell.trim() {
            "TRUE" | "True" | "true" => Ok(Some(1.0)),
            "FALSE" | "False" | "false" => Ok(Some(0.0)),
            text => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.bad_cell(place, rows, "a number")),
            },
        }
    }
}

/// A piece of a template.
#[derive(Debug)]
enum Piece {
    Text(String),
    Column { place: Place, pad: usize },
}

/// Text with columns in braces.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// Binds `"{Store:02}_{Dept:02}"` to columns.
    pub fn bind(scope: &Scope<'_>, field: &str, text: &str) -> Result<Self, DatasetError> {
        let wrong = |why: &str| scope.task.field(field, format!("{text:?}: {why}"));
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or_else(|| wrong("a { has no }"))? + open;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].into()));
            }
            let (name, pad) = match rest[open + 1..close].split_once(':') {
                None => (&rest[open + 1..close], 0),
                Some((name, pad)) => {
                    let width = pad.strip_prefix('0').and_then(|width| width.parse().ok()).filter(|width| *width <= 32);
                    (name, width.ok_or_else(|| wrong("after the colon stands a width such as 02"))?)
                }
            };
            pieces.push(Piece::Column { place: scope.place(field, name)?, pad });
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }

    /// The text of a row; `None` where one of its columns is absent.
    pub fn text(&self, scope: &Scope<'_>, rows: &RowNumbers) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Column { place, pad } => {
                    let cell = scope.cell(*place, rows)?;
                    text.extend(std::iter::repeat_n('0', pad.saturating_sub(cell.chars().count())));
                    text.push_str(cell);
                }
            }
        }
        Some(text)
    }
}

/// A number of a task file, bound to columns.
#[derive(Debug)]
pub(super) enum Number {
    Column(Place),
    Exp(Place),
    Pick { template: Template, columns: HashMap<String, Place>, field: String },
    Min(Vec<Place>),
    Sum(Vec<Place>),
    Constant(f64),
}

impl Number {
    /// Binds an expression to columns.
    pub fn bind(scope: &Scope<'_>, field: &str, value: &Value) -> Result<Self, DatasetError> {
        let place = |name: &String| scope.place(field, name);
        let places = |names: &Vec<String>| names.iter().map(place).collect::<Result<Vec<_>, _>>();
        Ok(match value {
            Value::Column(name) => Self::Column(place(name)?),
            Value::Computed(Computed::Exp(name)) => Self::Exp(place(name)?),
            Value::Computed(Computed::Min(names)) => Self::Min(places(names)?),
            Value::Computed(Computed::Sum(names)) => Self::Sum(places(names)?),
            Value::Computed(Computed::Constant(number)) => Self::Constant(*number),
            Value::Computed(Computed::Pick(text)) => {
                let mut columns = HashMap::new();
                for (file, table) in scope.tables.iter().enumerate() {
                    for (column, name) in table.names().iter().enumerate() {
                        columns.entry(name.clone()).or_insert(Place { file, column });
                    }
                }
                Self::Pick { template: Template::bind(scope, field, text)?, columns, field: field.into() }
            }
        })
    }

    /// The number of a row, `None` where the file has none.
    pub fn of(&self, scope: &Scope<'_>, rows: &RowNumbers) -> Result<Option<f64>, DatasetError> {
        let present = |places: &[Place]| -> Result<Vec<f64>, DatasetError> {
            places.iter().filter_map(|place| scope.number(*place, rows).transpose()).collect()
        };
        match self {
            Self::Constant(number) => Ok(Some(*number)),
            Self::Column(place) => scope.number(*place, rows),
            Self::Exp(place) => match scope.number(*place, rows)?.map(f64::exp) {
                Some(number) if !number.is_finite() => Err(scope.bad_cell(*place, rows, "a logarithm below 709")),
                number => Ok(number),
            },
            Self::Min(places) => Ok(present(places)?.into_iter().reduce(f64::min)),
            Self::Sum(places) => Ok(present(places)?.into_iter().reduce(|a, b| a + b)),
            Self::Pick { template, columns, field } => {
                let Some(name) = template.text(scope, rows) else { return Ok(None) };
                match columns.get(&name) {
                    Some(place) => scope.number(*place, rows),
                    None => {
                        Err(scope.task.field(field.as_str(), format!("a row picks column {name:?}, which no file has")))
                    }
                }
            }
        }
    }
}

/// Where dates are read, bound to a column.
pub(super) struct DateColumn<'a> {
    /// The column.
    pub place: Place,
    rule: &'a DateRule,
}

impl<'a> DateColumn<'a> {
    /// Binds a date rule.
    pub fn bind(scope: &Scope<'_>, field: &str, rule: &'a DateRule) -> Result<Self, DatasetError> {
        Ok(Self { place: scope.place(field, &rule.column)?, rule })
    }

    /// The date of a row.
    pub fn of(&self, scope: &Scope<'_>, rows: &RowNumbers) -> Result<Date, DatasetError> {
        let cell = scope.cell(self.place, rows).unwrap_or_default().trim();
        let (date, expected) = if let Some(epoch) = self.rule.epoch {
            let week = cell.parse::<i64>().ok().filter(|week| week.abs() <= 100_000);
            (week.map(|week| plus_days(epoch.0, (week - self.rule.first) * 7)), "a week number")
        } else if let Some(format) = &self.rule.format {
            (Date::strptime(format, cell).ok(), "a date of the task's format")
        } else {
            (cell.parse::<Date>().ok(), "a date such as 2017-04-22")
        };
        let date = date.ok_or_else(|| scope.bad_cell(self.place, rows, expected))?;
        Ok(if self.rule.monday { monday_of(date) } else { date })
    }
}

/// Conditions bound to columns.
pub(super) struct Conditions<'a>(Vec<(Place, &'a Condition)>);

impl<'a> Conditions<'a> {
    /// Binds a list of conditions.
    pub fn bind(scope: &Scope<'_>, field: &str, list: &'a [Condition]) -> Result<Self, DatasetError> {
        let bound = list.iter().map(|condition| Ok((scope.place(field, &condition.column)?, condition)));
        Ok(Self(bound.collect::<Result<_, DatasetError>>()?))
    }

    /// Whether a row passes all of them.
    pub fn hold(&self, scope: &Scope<'_>, rows: &RowNumbers) -> bool {
        self.0.iter().all(|(place, condition)| condition.holds(scope.cell(*place, rows)))
    }
}
