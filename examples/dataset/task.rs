//! The task file: what a data set is, in words a program can follow.
//!
//! Every field is checked when the file is loaded, or when its columns meet the files' headers; nothing is
//! guessed. Names in braces are columns: `"{Store:02}_{Dept:02}"` pads both with zeros to two digits.

use std::{collections::BTreeMap, path::Path};

use forecastle_client::data::series::Frequency;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{DatasetError, condition::Condition};

/// Tasks that ship with the program, with their files' text.
const SHIPPED: [(&str, &str); 7] = [
    ("restaurant_cal_1D", include_str!("../tasks/restaurant_cal_1D.toml")),
    ("restaurant_1D", include_str!("../tasks/restaurant_1D.toml")),
    ("walmart_1W", include_str!("../tasks/walmart_1W.toml")),
    ("online_retail_1D", include_str!("../tasks/online_retail_1D.toml")),
    ("orange_juice_1W", include_str!("../tasks/orange_juice_1W.toml")),
    ("olist_seller_1W", include_str!("../tasks/olist_seller_1W.toml")),
    ("olist_category_1W", include_str!("../tasks/olist_category_1W.toml")),
];

/// Layouts of published data folders and the task that reads each.
const LAYOUTS: [(&str, &str); 5] = [
    ("olist", "olist_seller_1W"),
    ("online-retail", "online_retail_1D"),
    ("restaurants", "restaurant_cal_1D"),
    ("walmart", "walmart_1W"),
    ("orange-juice", "orange_juice_1W"),
];

/// Names of the tasks that ship with the program.
pub fn task_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Names of the layouts that `--layout` accepts.
pub fn layout_names() -> impl Iterator<Item = &'static str> {
    LAYOUTS.iter().map(|(name, _)| *name)
}

/// A data set and how forecasts of it are judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name, used in messages and file names.
    pub name: String,
    /// One line for reports.
    pub title: String,
    /// Step of the series.
    pub frequency: Frequency,
    /// Data files by a short name, relative to the data folder.
    pub files: BTreeMap<String, String>,
    /// Which rows count.
    pub rows: Rows,
    /// What a series is.
    pub series: SeriesRule,
    /// Covariates known in advance.
    #[serde(default)]
    pub known: Vec<Known>,
    /// Fixed attributes: name to template.
    #[serde(default, rename = "static")]
    pub statics: BTreeMap<String, String>,
    /// Template of the free text of a series.
    #[serde(default)]
    pub text: Option<String>,
    /// Windows and horizon.
    pub evaluation: Evaluation,
    /// How single order lines read; absent for data sets that have totals only.
    #[serde(default)]
    pub orders: Option<Orders>,
}

/// What a task asks, apart from where its data lie.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Name, used in messages and file names.
    pub name: String,
    /// One line for reports.
    pub title: String,
    /// Step of the series.
    pub frequency: Frequency,
    /// Windows and horizon.
    pub evaluation: Evaluation,
}

/// Which rows of which file count, and what other files add to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// File whose rows these are.
    pub file: String,
    /// Files that add columns, one row a key.
    #[serde(default)]
    pub join: Vec<Join>,
    /// Text for absent cells, by column.
    #[serde(default)]
    pub default: BTreeMap<String, String>,
    /// Conditions that all must hold.
    #[serde(default)]
    pub keep: Vec<Condition>,
    /// First date that counts (after weeks are moved to their Monday).
    #[serde(default)]
    pub from: Option<Day>,
    /// Last date that counts.
    #[serde(default)]
    pub until: Option<Day>,
}

/// A file that adds columns to rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Short name of the file.
    pub file: String,
    /// Columns that must be equal; they have the same name on both sides.
    pub on: Vec<String>,
    /// Keep rows without a partner (their added columns are absent). Otherwise such rows are dropped.
    #[serde(default)]
    pub optional: bool,
}

/// How rows become series.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesRule {
    /// Template of the series' identity.
    pub id: String,
    /// Template of the merchant who owns the series.
    pub merchant: String,
    /// With it, merchants are numbered: SHA-256 of the merchant text, read as a big-endian integer, modulo this.
    #[serde(default)]
    pub merchant_modulo: Option<u64>,
    /// When a row happened.
    pub date: DateRule,
    /// Amount of a row; rows of one step add up. Absent amounts leave the row out.
    pub target: Value,
    /// Meaning of a step without a row.
    pub missing: Missing,
    /// Where series end.
    pub end: End,
    /// Series with fewer rows are left out.
    #[serde(default)]
    pub minimum_rows: Option<usize>,
    /// Only the largest series.
    #[serde(default)]
    pub top: Option<Top>,
}

/// Where a row's date is and how it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DateRule {
    /// The column.
    pub column: String,
    /// `strptime` format; without it ISO 8601 dates and timestamps are read.
    #[serde(default)]
    pub format: Option<String>,
    /// The column counts weeks, and week `first` begins on this day.
    #[serde(default)]
    pub epoch: Option<Day>,
    /// Number of the week that begins at `epoch`.
    #[serde(default = "one")]
    pub first: i64,
    /// Move each date to the Monday of its week.
    #[serde(default)]
    pub monday: bool,
}

fn one() -> i64 {
    1
}

/// A date of a task file, `"2017-04-22"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(pub Date);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is no date such as \"2017-04-22\""))
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.0.to_string()
    }
}

/// A number computed from a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a column name, or one of { exp = column }, { pick = template }, { min = [columns] }, { sum = [columns] }, { constant = number }"
)]
pub enum Value {
    /// The column's number; `TRUE` is 1 and `FALSE` is 0.
    Column(String),
    /// Computed from columns.
    Computed(Computed),
}

/// A computed number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Computed {
    /// e to the power of the column.
    Exp(String),
    /// The column whose name the template gives: `price{brand}` reads `price7` where `brand` is 7.
    Pick(String),
    /// The smallest of the columns, absent ones ignored.
    Min(Vec<String>),
    /// The sum of the columns, absent ones ignored.
    Sum(Vec<String>),
    /// The same for every row; with 1 the target counts rows.
    Constant(f64),
}

/// Meaning of a step without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Nothing was sold.
    Zero,
    /// Not known (closed, not measured): neither trained on nor scored.
    Missing,
}

/// Where series end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"common\", \"series\" or a date in quotes such as \"2017-04-22\"")]
pub enum End {
    /// On this date.
    Date(Day),
    /// See [`EndWord`].
    Word(EndWord),
}

/// Where series end, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndWord {
    /// All on the last date of any series.
    Common,
    /// Each on its own last date.
    Series,
}

/// A choice of the largest series, made from rows before a date.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// How many; ties go to the smaller identity.
    pub count: usize,
    /// Largest by what.
    pub by: Size,
    /// Rows from this date on do not count for the choice.
    pub before: Day,
}

/// Measure of a series' size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Dates with a row.
    ActiveDays,
    /// Rows.
    Rows,
    /// Sum of the target.
    Units,
}

/// A covariate known in advance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// What it means to the model.
    pub role: Role,
    /// File it is read from; without it, the rows themselves.
    #[serde(default)]
    pub file: Option<String>,
    /// Date of a row of that file.
    #[serde(default)]
    pub date: Option<DateRule>,
    /// Columns that tie a row of that file to a series; they exist in the rows too. Empty: one row a date.
    #[serde(default)]
    pub on: Vec<String>,
    /// The number.
    pub value: Value,
}

/// What a covariate means; the client's `data::calendar` says how each becomes a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Holidays: the dates on which any row of the file is non-zero.
    Holiday,
    /// Own price.
    Price,
    /// Price of what could be bought instead.
    CompetitorPrice,
    /// Non-zero under promotion.
    Promotion,
    /// Non-zero with a coupon.
    Coupon,
    /// Money spent on marking down.
    Markdown,
}

/// How forecasts are judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Steps ahead.
    pub horizon: usize,
    /// Number of windows, side by side, the last at the end of the data.
    pub windows: usize,
    /// Steps of a season in scaled errors.
    pub season: usize,
    /// Steps from the first observed one to the cut that a series needs to take part in a window.
    pub minimum_history: usize,
}

/// How single order lines read, for merchants' own files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Template of the order's identity.
    pub order: String,
    /// Template of the line's number within its order, where the data have one; without it, a second identical line
    /// of an order is taken for a repetition and refused by the import.
    #[serde(default)]
    pub line: Option<String>,
    /// Template of the customer; an absent column makes the line anonymous.
    #[serde(default)]
    pub customer: Option<String>,
    /// Template of the product.
    pub product: String,
    /// Units of the line.
    pub quantity: Value,
    /// Price of a unit.
    #[serde(default)]
    pub price: Option<Value>,
    /// Template of the product's title.
    #[serde(default)]
    pub title: Option<String>,
    /// Template of the product's category.
    #[serde(default)]
    pub category: Option<String>,
    /// Which rows become lines; `rows.keep` does not apply here, because a real export holds cancellations and
    /// free gifts too and the import has to cope with them.
    #[serde(default)]
    pub keep: Vec<Condition>,
}

impl Task {
    /// A task that ships with the program.
    ///
    /// # Errors
    /// [`DatasetError::UnknownTask`] lists the names there are.
    pub fn named(name: &str) -> Result<Self, DatasetError> {
        let (_, text) = SHIPPED.iter().find(|(known, _)| *known == name).ok_or_else(|| DatasetError::UnknownTask {
            name: name.into(),
            known: task_names().collect::<Vec<_>>().join(", "),
        })?;
        Self::from_toml(&format!("{name}.toml"), text)
    }

    /// What it asks.
    pub fn outline(&self) -> Outline {
        Outline {
            name: self.name.clone(),
            title: self.title.clone(),
            frequency: self.frequency,
            evaluation: self.evaluation.clone(),
        }
    }

    /// A task from a file of the user's.
    ///
    /// # Errors
    /// See [`DatasetError`].
    pub fn load(path: &Path) -> Result<Self, DatasetError> {
        let text = std::fs::read_to_string(path).map_err(|source| DatasetError::Read { path: path.into(), source })?;
        Self::from_toml(&path.display().to_string(), &text)
    }

    /// A shipped task's name, or the path of a TOML file.
    ///
    /// # Errors
    /// As [`Task::named`] and [`Task::load`].
    pub fn resolve(name_or_path: &str) -> Result<Self, DatasetError> {
        let is_path = Path::new(name_or_path).extension().is_some_and(|extension| extension == "toml");
        if is_path { Self::load(Path::new(name_or_path)) } else { Self::named(name_or_path) }
    }

    /// The task that reads a published data folder.
    ///
    /// # Errors
    /// [`DatasetError::UnknownLayout`] lists the layouts there are.
    pub fn layout(name: &str) -> Result<Self, DatasetError> {
        let (_, task) = LAYOUTS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            DatasetError::UnknownLayout { name: name.into(), known: layout_names().collect::<Vec<_>>().join(", ") }
        })?;
        Self::named(task)
    }

    /// Parses a task file's text; `file` is only for messages.
    ///
    /// # Errors
    /// [`DatasetError::Toml`] with line and field, [`DatasetError::Field`] for what contradicts itself.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, DatasetError> {
        let task: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let at = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            DatasetError::Toml { file: file.into(), message: format!("{at}{}", error.message().trim()) }
        })?;
        task.check()?;
        Ok(task)
    }

    /// Whether single order lines can be read.
    pub fn has_orders(&self) -> bool {
        self.orders.is_some()
    }

    pub(super) fn field(&self, field: impl Into<String>, why: impl Into<String>) -> DatasetError {
        DatasetError::Field { task: self.name.clone(), field: field.into(), why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_task_and_layout_loads() {
        for name in task_names() {
            assert_eq!(Task::named(name).unwrap().name, name);
        }
        for name in layout_names() {
            Task::layout(name).unwrap();
        }
    }

    #[test]
    fn a_broken_task_names_its_line_or_field() {
        let good = SHIPPED[0].1;
        let no_horizon = good.replace("horizon = 28", "horizon = 0");
        let error = Task::from_toml("x.toml", &no_horizon).unwrap_err().to_string();
        assert!(error.contains("evaluation.horizon"), "{error}");
        let unknown = good.replace("season = 7", "seasons = 7");
        let error = Task::from_toml("x.toml", &unknown).unwrap_err().to_string();
        assert!(error.starts_with("task file x.toml: line ") && error.contains("seasons"), "{error}");
        let file = good.replace("file = \"visits\"", "file = \"visit\"");
        let error = Task::from_toml("x.toml", &file).unwrap_err().to_string();
        assert!(error.contains("rows.file") && error.contains("\"visit\""), "{error}");
        let error = Task::resolve("restaurant").unwrap_err().to_string();
        assert!(error.contains("restaurant_cal_1D"), "{error}");
    }

    #[test]
    fn a_condition_needs_exactly_one_test() {
        let text =
            SHIPPED[0].1.replace("[series]", "keep = [{ column = \"visitors\", above = 0, below = 9 }]\n\n[series]");
        let error = Task::from_toml("x.toml", &text).unwrap_err().to_string();
        assert!(error.contains("rows.keep") && error.contains("2 tests"), "{error}");
    }
}
