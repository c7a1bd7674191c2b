//! The files of a task, joined and filtered into rows of series, date and amount.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use forecastle_client::data::order::day_number;

use super::{
    Condition, DatasetError,
    expression::{Conditions, DateColumn, Number, Scope, Template},
    table::Table,
    task::{End, Size, Task},
};

/// All files of a task in memory.
pub(super) struct Files(BTreeMap<String, Table>);

impl Files {
    /// Reads every file that the task names.
    pub fn read(task: &Task, folder: &Path) -> Result<Self, DatasetError> {
        let read = |(name, path): (&String, &String)| Ok((name.clone(), Table::read(&folder.join(path))?));
        Ok(Self(task.files.iter().map(read).collect::<Result<_, DatasetError>>()?))
    }

    /// A file by its short name; the task's check has seen that it is there.
    pub fn table(&self, name: &str) -> &Table {
        &self.0[name]
    }
}

/// A row that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Position in [`Records::ids`].
    pub series: usize,
    /// Day number of its date.
    pub day: i64,
    /// Amount.
    pub amount: f64,
    /// Position in [`Joined::rows`].
    pub row: usize,
}

/// Rows of the main file with their partners in the joined files.
pub(super) struct Joined<'a> {
    /// The columns that a row offers.
    pub scope: Scope<'a>,
    /// Row numbers, one a file of the scope, row after row.
    rows: Vec<Option<usize>>,
}

impl<'a> Joined<'a> {
    /// Joins the task's files; rows without a partner in a file that is not optional are dropped.
    pub fn of(task: &'a Task, files: &'a Files) -> Result<Self, DatasetError> {
        let main = files.table(&task.rows.file);
        let mut scope = Scope { task, tables: vec![main] };
        let mut rows: Vec<Vec<Option<usize>>> = (0..main.rows()).map(|row| vec![Some(row)]).collect();
        for (i, join) in task.rows.join.iter().enumerate() {
            let field = format!("rows.join[{i}].on");
            let other = files.table(&join.file);
            let theirs = Scope { task, tables: vec![other] };
            let mut columns = Vec::new();
            let mut places = Vec::new();
            for name in &join.on {
                places.push(scope.place(&field, name)?);
                columns.push(theirs.place(&field, name)?.column);
            }
            let index = other.index(&columns)?;
            rows.retain_mut(|row| {
                let cells: Option<Vec<&str>> = places.iter().map(|place| scope.cell(*place, row)).collect();
                let partner = cells.and_then(|cells| index.get(&cells.join("\u{1f}")).copied());
                row.push(partner);
                partner.is_some() || join.optional
            });
            scope.tables.push(other);
        }
        let rows = rows.into_iter().flatten().collect();
        Ok(Self { scope, rows })
    }

    /// Number of joined rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.scope.tables.len()
    }

    /// Row numbers of one joined row.
    pub fn row(&self, row: usize) -> &[Option<usize>] {
        let width = self.scope.tables.len();
        &self.rows[row * width..(row + 1) * width]
    }
}

/// The rows that count, with the series they belong to.
pub(super) struct Records {
    /// Identities of series, sorted.
    pub ids: Vec<String>,
    /// Rows, in the file's order.
    pub rows: Vec<Record>,
}

impl Records {
    /// Filters joined rows and names their series; the task's choice of series is applied.
    pub fn of(joined: &Joined<'_>) -> Result<Self, DatasetError> {
        let task = joined.scope.task;
        let all = Self::passing(joined, &task.rows.keep)?;
        let chosen = all.chosen(task);
        let records = all.only(&chosen);
        if records.rows.is_empty() {
            return Err(DatasetError::NoRows { task: task.name.clone() });
        }
        Ok(records)
    }

    /// Rows that pass some conditions and the task's dates, of every series.
    pub fn passing(joined: &Joined<'_>, keep: &[Condition]) -> Result<Self, DatasetError> {
        let scope = &joined.scope;
        let task = scope.task;
        let keep = Conditions::bind(scope, "rows.keep", keep)?;
        let id = Template::bind(scope, "series.id", &task.series.id)?;
        let date = DateColumn::bind(scope, "series.date", &task.series.date)?;
        let target = Number::bind(scope, "series.target", &task.series.target)?;
        let end = if let End::Date(end) = task.series.end { Some(end) } else { None };
        let until = task.rows.until.into_iter().chain(end).min();
        let mut positions: HashMap<String, usize> = HashMap::new();
        let mut rows = Vec::new();
        for row in 0..joined.len() {
            let numbers = joined.row(row);
            if !keep.hold(scope, numbers) {
                continue;
            }
            let Some(id) = id.text(scope, numbers) else { continue };
            let date = date.of(scope, numbers)?;
            if task.rows.from.is_some_and(|from| date < from.0) || until.is_some_and(|until| date > until.0) {
                continue;
            }
            let Some(amount) = target.of(scope, numbers)? else { continue };
            let next = positions.len();
            let series = *positions.entry(id).or_insert(next);
            rows.push(Record { series, day: day_number(date), amount, row });
        }
        let mut ids: Vec<(String, usize)> = positions.into_iter().collect();
        ids.sort();
        let mut sorted = vec![0; ids.len()];
        for (position, (_, first_seen)) in ids.iter().enumerate() {
            sorted[*first_seen] = position;
        }
        for record in &mut rows {
            record.series = sorted[record.series];
        }
        Ok(Self { ids: ids.into_iter().map(|(id, _)| id).collect(), rows })
    }

    /// Which series the task chooses.
    fn chosen(&self, task: &Task) -> Vec<bool> {
        let mut chosen = vec![true; self.ids.len()];
        if let Some(least) = task.series.minimum_rows {
            let mut counts = vec![0_usize; self.ids.len()];
            for record in &self.rows {
                counts[record.series] += 1;
            }
            chosen = counts.into_iter().map(|count| count >= least).collect();
        }
        if let Some(top) = &task.series.top {
            let before = day_number(top.before.0);
            let mut sizes = vec![0.0_f64; self.ids.len()];
            let mut days: Vec<(usize, i64)> = Vec::new();
            for record in self.rows.iter().filter(|record| record.day < before) {
                match top.by {
                    Size::ActiveDays => days.push((record.series, record.day)),
                    Size::Rows => sizes[record.series] += 1.0,
                    Size::Units => sizes[record.series] += record.amount,
                }
            }
            days.sort_unstable();
            days.dedup();
            for (series, _) in days {
                sizes[series] += 1.0;
            }
            let mut order: Vec<usize> = (0..self.ids.len()).filter(|i| chosen[*i] && sizes[*i] > 0.0).collect();
            order.sort_by(|a, b| sizes[*b].total_cmp(&sizes[*a]));
            order.truncate(top.count);
            chosen = vec![false; self.ids.len()];
            for series in order {
                chosen[series] = true;
            }
        }
        chosen
    }

    /// Rows in the file's order, with their series' identities.
    pub fn in_files_order(&self) -> impl Iterator<Item = NamedRow<'_>> {
        self.rows.iter().map(|record| NamedRow { id: &self.ids[record.series], day: record.day, row: record.row })
    }

    /// Only some series, renumbered.
    fn only(self, chosen: &[bool]) -> Self {
        let mut position = vec![None; self.ids.len()];
        let mut ids = Vec::new();
        for (series, id) in self.ids.into_iter().enumerate() {
            if chosen[series] {
                position[series] = Some(ids.len());
                ids.push(id);
            }
        }
        let renumbered = |record: Record| position[record.series].map(|series| Record { series, ..record });
        let mut rows: Vec<Record> = self.rows.into_iter().filter_map(renumbered).collect();
        rows.shrink_to_fit();
        Self { ids, rows }
    }
}

/// A row with the identity of its series.
pub(super) struct NamedRow<'a> {
    /// Identity of the series.
    pub id: &'a str,
    /// Day number of its date.
    pub day: i64,
    /// Position in [`Joined::rows`].
    pub row: usize,
}
