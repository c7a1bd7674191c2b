//! What importing order lines costs on this machine, beside only splitting the same file into fields.
//!
//! ```text
//! cargo run --release --example import_cost -- --lines 1000000
//! ```
//!
//! A generated file is split by the csv crate (nothing is parsed, checked or stored), imported, imported again, and
//! imported with lines added. Times are wall-clock; memory is the peak of the whole program.

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Parser;
use forecastle_client::data::{
    ingest::Input,
    store::{ImportOptions, Importer},
};
use forecastle_examples::memory::peak_memory_mb;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The allocator of the merchant's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure what an import costs.
#[derive(Parser)]
struct Arguments {
    /// Order lines.
    #[arg(long, default_value_t = 1_000_000)]
    lines: u32,
    /// Lines added before the last import.
    #[arg(long, default_value_t = 1_000)]
    added: u32,
    /// Folder for the file and the state; emptied first.
    #[arg(long, default_value = "out/import-cost")]
    out: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if arguments.out.exists() {
        fs::remove_dir_all(&arguments.out)?;
    }
    fs::create_dir_all(&arguments.out)?;
    let file = arguments.out.join("orders.csv");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut writer = BufWriter::new(File::create(&file)?);
    writeln!(writer, "order_id,customer_id,product_id,ordered_at,quantity,unit_price,discount,returned,channel")?;
    write_lines(&mut writer, &mut random, 0..arguments.lines)?;
    drop(writer);
    println!("{} lines, {:.1} MB", arguments.lines, fs::metadata(&file)?.len() as f64 / 1e6);

    let begin = Instant::now();
    let fields = split(&file)?;
    let splitting = begin.elapsed().as_secs_f64();
    println!("{:<44}{splitting:>8.2} s   ({fields} fields)", "split into fields by the csv crate");

    let importer = Importer::open(&arguments.out.join("data"))?;
    let import = |what: &str| -> Result<(), Box<dyn Error>> {
        let begin = Instant::now();
        let report = importer.import(&Input::file(&file)?, &ImportOptions::default())?;
        let seconds = begin.elapsed().as_secs_f64();
        let (rows, imported) = (report.rows, report.imported);
        println!(
            "{what:<44}{seconds:>8.2} s   {:>5.1} times as long; {rows} rows read, {imported} new",
            seconds / splitting
        );
        Ok(())
    };
    import("imported")?;
    println!("{:<44}{:>8.1} MB", "peak memory until then", peak_memory_mb()?);
    import("imported once more")?;
    write_lines(
        &mut BufWriter::new(OpenOptions::new().append(true).open(&file)?),
        &mut random,
        arguments.lines..arguments.lines + arguments.added,
    )?;
    import("imported with lines added")?;
    println!("{:<44}{:>8.1} MB", "peak memory", peak_memory_mb()?);
    Ok(())
}

/// Lines of orders of one to four lines, three hundred a day of 5,000 products, by 200,000 customers.
fn write_lines(to: &mut impl Write, random: &mut ChaCha8Rng, numbers: std::ops::Range<u32>) -> std::io::Result<()> {
    let first = jiff::civil::date(2015, 1, 1).at(0, 0, 0, 0);
    let (mut order, mut left, mut customer) = (numbers.start, 0_u32, 0_u32);
    for number in numbers {
        if left == 0 {
            (order, left, customer) = (number, random.random_range(1..=4), random.random_range(0..200_000));
        }
        left -= 1;
        let at = first.saturating_add(jiff::Span::new().minutes(i64::from(order) * 5));
        let product = random.random_range(0..5_000_u32);
        let (quantity, price) =
            (random.random_range(1..=5_u32), f64::from(random.random_range(100..10_000_u32)) / 100.0);
        let discount = if random.random_bool(0.2) { "0.1" } else { "0" };
        writeln!(
            to,
            "A{order:08},C{customer:06},SKU-{product:05},{},{quantity},{price:.2},{discount},0,web",
            at.strftime("%Y-%m-%d %H:%M:%S")
        )?;
    }
    to.flush()
}

/// Fields of a file.
fn split(file: &Path) -> Result<u64, Box<dyn Error>> {
    let mut reader = csv::ReaderBuilder::new().from_path(file)?;
    let (mut record, mut fields) = (csv::ByteRecord::new(), 0);
    while reader.read_byte_record(&mut record)? {
        fields += record.len() as u64;
    }
    Ok(fields)
}
