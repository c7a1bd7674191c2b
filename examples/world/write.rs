//! A merchant's exports as files, and what happened afterwards in a folder of its own.
//!
//! Real exports are never clean: each `orders.csv` has one line twice, a line on a day that does not exist, a
//! line at a negative price and a line without a product, so that an import has something to report.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use forecastle_client::data::order::plus_days;

use super::{CHANNELS, Line, Merchant, World, WorldError};

/// Header of `orders.csv`.
const ORDERS: &str = "order_id,customer_id,product_id,ordered_at,quantity,unit_price,discount,returned,channel";

/// Where in an `orders.csv` the rows stand that an import has to reject, in sixteenths: a repeated line, an
/// impossible day, a negative price, no product.
const DIRT: [usize; 4] = [2, 5, 8, 11];

/// Where a merchant's files are.
#[derive(Clone, Debug)]
pub struct MerchantFiles {
    /// Name of the shop.
    pub merchant: String,
    /// Folder of what the merchant imports.
    pub folder: PathBuf,
    /// `order_id,customer_id,product_id,ordered_at,quantity,unit_price,discount,returned,channel`.
    pub orders: PathBuf,
    /// `product_id,title,category,description,list_price,listed_on`.
    pub products: PathBuf,
    /// `product_id,date,price,promotion,coupon,in_stock`, the held-back days' plans included (without stock).
    pub calendar: PathBuf,
    /// `date,name`.
    pub holidays: PathBuf,
    /// Orders of the held-back days, in the layout of `orders`. Never imported for training.
    pub held_back_orders: PathBuf,
    /// `product_id,date,sales,ordered,demand` of the held-back days; `sales` is empty without stock.
    pub truth: PathBuf,
    /// Rows of `orders` that an import has to reject.
    pub dirty_rows: usize,
}

impl World {
    /// Writes every merchant's files: `DIR/<merchant>/…` to import, `DIR/held-back/<merchant>/…` to judge by.
    ///
    /// # Errors
    /// [`WorldError::Write`] names the file or folder.
    pub fn write(&self, dir: &Path) -> Result<Vec<MerchantFiles>, WorldError> {
        self.merchants.iter().map(|merchant| self.write_merchant(merchant, dir)).collect()
    }

    fn write_merchant(&self, merchant: &Merchant, dir: &Path) -> Result<MerchantFiles, WorldError> {
        let slug = merchant.name.to_lowercase().replace(' ', "-");
        let folder = dir.join(&slug);
        let apart = dir.join("held-back").join(&slug);
        for folder in [&folder, &apart] {
            std::fs::create_dir_all(folder).map_err(|source| WorldError::Write { path: folder.clone(), source })?;
        }
        let files = MerchantFiles {
            merchant: merchant.name.clone(),
            orders: folder.join("orders.csv"),
            products: folder.join("products.csv"),
            calendar: folder.join("calendar.csv"),
            holidays: folder.join("holidays.csv"),
            held_back_orders: apart.join("orders.csv"),
            truth: apart.join("truth.csv"),
            folder,
            dirty_rows: if merchant.lines.len() < 16 { 0 } else { DIRT.len() },
        };
        write(&files.orders, |file| self.orders(file, merchant, &merchant.lines, merchant.lines.len() >= 16))?;
        write(&files.held_back_orders, |file| self.orders(file, merchant, &merchant.held_back, false))?;
        write(&files.products, |file| self.products(file, merchant))?;
        write(&files.calendar, |file| self.calendar(file, merchant))?;
        write(&files.truth, |file| self.truth(file, merchant))?;
        write(&files.holidays, |file| {
            writeln!(file, "date,name")?;
            self.holidays.iter().try_for_each(|(day, name)| writeln!(file, "{day},{name}"))
        })?;
        Ok(files)
    }

    fn orders(&self, file: &mut impl Write, merchant: &Merchant, lines: &[Line], dirty: bool) -> std::io::Result<()> {
        writeln!(file, "{ORDERS}")?;
        let salt = merchant
            .name
            .bytes()
            .fold(0x9e37_79b9_u32, |salt, byte| (salt ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let mut at = (usize::MAX, String::new());
        for (position, line) in lines.iter().enumerate() {
            let day = usize::from(line.day);
            if at.0 != day {
                at = (day, plus_days(self.config.start, day as i64).to_string());
            }
            let product = &merchant.products[usize::from(line.product)];
            let plan = product.plan[day];
            let full_price = (product.list_price * plan.price_level * 100.0).round() / 100.0;
            let row = |date: &str, product: &str, price: f64| {
                format!(
                    "S{:07},C{:08x},{product},{date} {:02}:{:02}:00,{},{price:.2},{},{},{}",
                    line.order,
                    customer_number(line.customer, salt),
                    line.minute / 60,
                    line.minute % 60,
                    line.quantity,
                    plan.discount,
                    u8::from(line.returned),
                    CHANNELS[usize::from(line.channel)],
                )
            };
            let clean = row(&at.1, &product.id, full_price);
            writeln!(file, "{clean}")?;
            if !dirty {
                continue;
            }
            let bad = match DIRT.iter().position(|share| position == lines.len() * share / 16) {
                Some(0) => clean,
                Some(1) => row(&format!("{}-02-30", &at.1[..4]), &product.id, full_price).replacen('S', "X", 1),
                Some(2) => row(&at.1, &product.id, -full_price).replacen('S', "X", 1),
                Some(_) => row(&at.1, "", full_price).replacen('S', "X", 1),
                None => continue,
            };
            writeln!(file, "{bad}")?;
        }
        Ok(())
    }

    fn products(&self, file: &mut impl Write, merchant: &Merchant) -> std::io::Result<()> {
        let mut rows = csv::Writer::from_writer(file);
        rows.write_record(["product_id", "title", "category", "description", "list_price", "listed_on"])?;
        for product in &merchant.products {
            rows.write_record([
                product.id.as_str(),
                &product.title,
                &product.category,
                &product.description,
                &format!("{:.2}", product.list_price),
                &plus_days(self.config.start, product.listed_day as i64).to_string(),
            ])?;
        }
        rows.flush()
    }

    fn calendar(&self, file: &mut impl Write, merchant: &Merchant) -> std::io::Result<()> {
        writeln!(file, "product_id,date,price,promotion,coupon,in_stock")?;
        let days: Vec<String> = self.dates();
        for product in &merchant.products {
            for (day, plan) in product.plan.iter().enumerate().skip(product.listed_day) {
                let stock = match plan.in_stock {
                    _ if day >= self.config.history_days => "",
                    true => "1",
                    false => "0",
                };
                writeln!(
                    file,
                    "{},{},{:.2},{},{},{stock}",
                    product.id,
                    days[day],
                    plan.price(product.list_price),
                    u8::from(plan.promotion()),
                    u8::from(plan.coupon),
                )?;
            }
        }
        Ok(())
    }

    fn truth(&self, file: &mut impl Write, merchant: &Merchant) -> std::io::Result<()> {
        writeln!(file, "product_id,date,sales,ordered,demand")?;
        let days = self.dates();
        let number = |value: f32| if value.is_nan() { String::new() } else { value.to_string() };
        for (product, truth) in merchant.products.iter().zip(&merchant.truth) {
            for (day, date) in days.iter().enumerate().skip(self.config.history_days) {
                let [sales, ordered] = [truth.sales[day], truth.ordered[day]].map(number);
                writeln!(file, "{},{date},{sales},{ordered},{}", product.id, truth.demand[day])?;
            }
        }
        Ok(())
    }

    fn dates(&self) -> Vec<String> {
        let days = self.config.history_days + self.config.held_back_days;
        (0..days).map(|day| plus_days(self.config.start, day as i64).to_string()).collect()
    }
}

/// A customer number that says nothing about when the customer came: a bijection of the 32-bit numbers (odd
/// multiplications and shifted exclusive-ors), another for every shop.
fn customer_number(customer: u32, salt: u32) -> u32 {
    let mut x = customer ^ salt;
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

fn write(path: &Path, content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<(), WorldError> {
    let failed = |source| WorldError::Write { path: path.into(), source };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    content(&mut file).and_then(|()| file.flush()).map_err(failed)
}
