//! The same rows as each merchant's own files, for clients that import them.
//!
//! A data set with orders becomes `orders.csv` and `products.csv` a merchant; one with totals only becomes
//! `sales.csv`, `products.csv`, `calendar.csv` and `holidays.csv`. The last horizon is written apart, under
//! `held-back/`, and is never imported. Rows that a protocol filters (cancellations, free gifts) stay in
//! `orders.csv`: the import has to cope with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use forecastle_client::data::{
    order::{Period, day_number, monday_of, plus_days},
    series::Frequency,
};
use jiff::civil::Date;

use super::{
    DatasetError, Panel,
    covariates::Covariates,
    expression::{DateColumn, Number, Template},
    panel::{Span, panel},
    rows::{Files, Joined, Records},
    task::{Orders, Task},
};

/// What one merchant imports.
#[derive(Clone, Debug)]
pub struct MerchantTables {
    /// The merchant.
    pub merchant: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Files to import: `orders.csv` or `sales.csv` first.
    pub tables: Vec<PathBuf>,
    /// What happened in the last horizon, in the layout of the first table. Never imported for training.
    pub held_back: PathBuf,
    /// Identities of the merchant's series.
    pub series: Vec<String>,
}

/// A data set dealt to its merchants.
#[derive(Clone, Debug)]
pub struct DealtData {
    /// Merchants, by name.
    pub merchants: Vec<MerchantTables>,
    /// First and last day of what is imported, whole weeks from Monday for weekly data; the days after it, one
    /// horizon, are held back.
    pub period: Period,
    /// Number of series over all merchants.
    pub series: usize,
}

impl Task {
    /// Writes each merchant's files under `out`.
    ///
    /// # Errors
    /// As [`Task::read`], and [`DatasetError::Write`].
    pub fn write_merchants(&self, data: &Path, out: &Path) -> Result<DealtData, DatasetError> {
        let files = Files::read(self, data)?;
        let joined = Joined::of(self, &files)?;
        let records = Records::of(&joined)?;
        let whole = panel(self, &files, &joined, &records)?;
        let step = self.frequency.days();
        let first = whole.series.iter().map(|series| series.series.start).min();
        let last = whole.series.iter().map(|series| series.series.date(series.series.y.len().saturating_sub(1))).max();
        let no_rows = || DatasetError::NoRows { task: self.name.clone() };
        let (first, last) = first.zip(last).ok_or_else(no_rows)?;
        let last_known = plus_days(last, -(self.evaluation.horizon as i64) * step);
        // The client's weeks run from Monday: a period of whole weeks holds each dated week in one of them.
        let period = match self.frequency {
            Frequency::Daily => Period::new(first, last_known),
            Frequency::Weekly => Period::new(monday_of(first), plus_days(monday_of(last_known), 6)),
        };
        let period = period.ok_or_else(no_rows)?;
        let end = period.end();

        let mut merchants: Vec<MerchantTables> = Vec::new();
        let mut by_name = BTreeMap::new();
        for (name, series) in whole.merchants() {
            let folder_name = folder_name(name);
            let table = if self.has_orders() { "orders.csv" } else { "sales.csv" };
            by_name.insert(name.to_owned(), merchants.len());
            merchants.push(MerchantTables {
                merchant: name.to_owned(),
                folder: out.join(&folder_name),
                tables: vec![out.join(&folder_name).join(table)],
                held_back: out.join("held-back").join(&folder_name).join(table),
                series: series.into_iter().map(|index| whole.series[index].unique_id.clone()).collect(),
            });
        }
        for merchant in &merchants {
            for folder in [Some(merchant.folder.as_path()), merchant.held_back.parent()].into_iter().flatten() {
                std::fs::create_dir_all(folder)
                    .map_err(|source| DatasetError::Write { path: folder.into(), source })?;
            }
        }
        match &self.orders {
            Some(orders) => write_orders(orders, &joined, &whole, &by_name, &mut merchants, end)?,
            None => write_sales(self, &files, &joined, &records, &whole, &by_name, &mut merchants, end)?,
        }
        Ok(DealtData { series: whole.series.len(), merchants, period })
    }
}

fn write_orders(
    orders: &Orders,
    joined: &Joined<'_>,
    whole: &Panel,
    by_name: &BTreeMap<String, usize>,
    merchants: &mut [MerchantTables],
    end: Date,
) -> Result<(), DatasetError> {
    let scope = &joined.scope;
    let bind =
        |field: &str, text: &Option<String>| text.as_ref().map(|text| Template::bind(scope, field, text)).transpose();
    let order = Template::bind(scope, "orders.order", &orders.order)?;
    let product = Template::bind(scope, "orders.product", &orders.product)?;
    let line = bind("orders.line", &orders.line)?;
    let customer = bind("orders.customer", &orders.customer)?;
    let title = bind("orders.title", &orders.title)?;
    let category = bind("orders.category", &orders.category)?;
    let quantity = Number::bind(scope, "orders.quantity", &orders.quantity)?;
    let price = orders.price.as_ref().map(|price| Number::bind(scope, "orders.price", price)).transpose()?;
    let time = DateColumn::bind(scope, "series.date", &scope.task.series.date)?;
    let owner: BTreeMap<&str, usize> =
        whole.series.iter().map(|series| (series.unique_id.as_str(), by_name[&series.merchant])).collect();

    let header = ["order_id", "line", "customer_id", "product_id", "ordered_at", "quantity", "unit_price"];
    let mut past = Vec::with_capacity(merchants.len());
    let mut held_back = Vec::with_capacity(merchants.len());
    for merchant in merchants.iter() {
        past.push(Csv::create(&merchant.tables[0], &header)?);
        held_back.push(Csv::create(&merchant.held_back, &header)?);
    }
    let mut products: Vec<BTreeMap<String, [String; 2]>> = vec![BTreeMap::new(); merchants.len()];
    let optional = |template: &Option<Template>, row: &[Option<usize>]| {
        template.as_ref().and_then(|template| template.text(scope, row)).unwrap_or_default()
    };
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    // Amounts are the protocol's business; a merchant's file holds every line of its products.
    for record in Records::passing(joined, &orders.keep)?.in_files_order() {
        let Some(merchant) = owner.get(record.id) else { continue };
        let row = joined.row(record.row);
        let Some(product) = product.text(scope, row) else { continue };
        let price = price.as_ref().map(|price| price.of(scope, row)).transpose()?.flatten();
        let cells = [
            order.text(scope, row).unwrap_or_default(),
            optional(&line, row),
            optional(&customer, row),
            product.clone(),
            scope.cell(time.place, row).unwrap_or_default().to_owned(),
            number(quantity.of(scope, row)?),
            number(price),
        ];
        let is_past = record.day <= day_number(end);
        if is_past { &mut past[*merchant] } else { &mut held_back[*merchant] }.row(&cells)?;
        let known = products[*merchant].entry(product).or_default();
        for (cell, text) in known.iter_mut().zip([optional(&title, row), optional(&category, row)]) {
            if cell.is_empty() && is_past {
                *cell = text;
            }
        }
    }
    for csv in past.into_iter().chain(held_back) {
        csv.finish()?;
    }
    for (merchant, products) in merchants.iter_mut().zip(products) {
        let path = merchant.folder.join("products.csv");
        let mut csv = Csv::create(&path, &["product_id", "title", "category"])?;
        for (id, [title, category]) in products {
            csv.row(&[id, title.trim().to_owned(), category])?;
        }
        csv.finish()?;
        merchant.tables.push(path);
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the pieces of one reading, passed on once")]
fn write_sales(
    task: &Task,
    files: &Files,
    joined: &Joined<'_>,
    records: &Records,
    whole: &Panel,
    by_name: &BTreeMap<String, usize>,
    merchants: &mut [MerchantTables],
    end: Date,
) -> Result<(), DatasetError> {
    let step = task.frequency.days();
    let spans: Vec<Span> = whole
        .series
        .iter()
        .map(|series| {
            let steps = series.series.y.len();
            Span { last: day_number(series.series.start) + (steps as i64 - 1) * step, steps }
        })
        .collect();
    let covariates = Covariates::bind(task, files, joined, records, &spans)?;
    let first_row: BTreeMap<usize, usize> =
        records.rows.iter().rev().map(|record| (record.series, record.row)).collect();

    for (name, position) in by_name {
        let merchant = &mut merchants[*position];
        let own: Vec<usize> = whole
            .series
            .iter()
            .enumerate()
            .filter(|(_, series)| series.merchant == *name)
            .map(|(index, _)| index)
            .collect();
        let names: BTreeSet<&str> = own
            .iter()
            .flat_map(|index| &whole.series[*index].series.attributes)
            .map(|(name, _)| name.as_str())
            .collect();

        let mut past = Csv::create(&merchant.tables[0], &["series_id", "date", "value"])?;
        let mut held_back = Csv::create(&merchant.held_back, &["series_id", "date", "value"])?;
        let products_path = merchant.folder.join("products.csv");
        let header: Vec<&str> = ["product_id", "title"].into_iter().chain(names.iter().copied()).collect();
        let mut products = Csv::create(&products_path, &header)?;
        let calendar_path = merchant.folder.join("calendar.csv");
        let header = ["product_id", "date", "price", "promotion", "coupon", "competitor_price", "markdown"];
        let mut calendar = Csv::create(&calendar_path, &header)?;
        let mut has_calendar = false;
        for index in own {
            let series = &whole.series[index].series;
            let mut cells = vec![series.id.clone(), series.text.clone()];
            cells.extend(names.iter().map(|name| {
                let value = series.attributes.iter().find(|(known, _)| known == name);
                value.map(|(_, value)| value.clone()).unwrap_or_default()
            }));
            products.row(&cells)?;
            let days = covariates.days(index, joined.row(first_row[&index]), series.known.len());
            for (position, day) in days.iter().enumerate() {
                let date = plus_days(series.start, position as i64 * step);
                if let Some(value) = series.y.get(position).filter(|value| !value.is_nan()) {
                    let csv = if date <= end { &mut past } else { &mut held_back };
                    csv.row(&[series.id.clone(), date.to_string(), value.to_string()])?;
                }
                let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
                if *day != Default::default() {
                    has_calendar = true;
                    let flag = |set: bool| u8::from(set).to_string();
                    let cells = [
                        series.id.clone(),
                        date.to_string(),
                        number(day.price),
                        flag(day.promotion),
                        flag(day.coupon),
                        number(day.competitor_price),
                        number(day.markdown),
                    ];
                    calendar.row(&cells)?;
                }
            }
        }
        for csv in [past, held_back, products, calendar] {
            csv.finish()?;
        }
        merchant.tables.push(products_path);
        if has_calendar {
            merchant.tables.push(calendar_path);
        } else {
            std::fs::remove_file(&calendar_path)
                .map_err(|source| DatasetError::Write { path: calendar_path, source })?;
        }
        if !covariates.holidays.is_empty() {
            let path = merchant.folder.join("holidays.csv");
            let mut csv = Csv::create(&path, &["date", "name"])?;
            for (date, name) in &covariates.holidays {
                csv.row(&[date.to_string(), name.clone()])?;
            }
            csv.finish()?;
            merchant.tables.push(path);
        }
    }
    Ok(())
}

/// A merchant's name as a folder: what is not a letter, digit, `_` or `-` becomes `_`.
fn folder_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    name.chars().map(safe).collect()
}

/// A CSV file being written.
struct Csv {
    path: PathBuf,
    rows: csv::Writer<std::fs::File>,
}

impl Csv {
    fn create(path: &Path, header: &[&str]) -> Result<Self, DatasetError> {
        let file = std::fs::File::create(path).map_err(|source| DatasetError::Write { path: path.into(), source })?;
        let mut csv = Self { path: path.into(), rows: csv::Writer::from_writer(file) };
        csv.row(header)?;
        Ok(csv)
    }

    fn row(&mut self, cells: &[impl AsRef<[u8]>]) -> Result<(), DatasetError> {
        self.rows
            .write_record(cells)
            .map_err(|error| DatasetError::Write { path: self.path.clone(), source: error.into() })
    }

    fn finish(mut self) -> Result<(), DatasetError> {
        self.rows.flush().map_err(|source| DatasetError::Write { path: self.path, source })
    }
}
