//! How long the accountant takes. Prints; asserts nothing, because other work on the machine decides.
//!
//! `cargo bench -p forecastle-crypto --bench accounting`

use std::{error::Error, time::Instant};

use forecastle_crypto::dp::{accountant, event::DpEvent, unit::PrivacyUnit};

fn main() -> Result<(), Box<dyn Error>> {
    let step = DpEvent::step;
    measure("14,062 steps, series, q 0.004, σ 1.1", &step(PrivacyUnit::Series, 0.004, 1, 1.1)?.times(14_062), 1e-5)?;
    measure("2,000 steps, customer, L 5, q 0.01, σ 2", &step(PrivacyUnit::Customer, 0.01, 5, 2.0)?.times(2000), 1e-6)?;
    measure(
        "2,000 steps, customer, L 100, q 0.01, σ 16",
        &step(PrivacyUnit::Customer, 0.01, 100, 16.0)?.times(2000),
        1e-6,
    )?;
    measure("40 rounds, customer, L 2, q 0.25, σ 4.1", &step(PrivacyUnit::Customer, 0.25, 2, 4.1)?.times(40), 1e-6)?;
    measure("a year of 365 different rounds, series", &year(PrivacyUnit::Series, 1, 1.0)?, 1e-6)?;
    measure("a year of 365 different rounds, customer, L 3", &year(PrivacyUnit::Customer, 3, 4.0)?, 1e-6)?;
    Ok(())
}

/// Daily rounds of which no two are alike: q between 1 % and 5 %, σ drifting upwards.
fn year(unit: PrivacyUnit, touched: u32, sigma: f64) -> Result<DpEvent, Box<dyn Error>> {
    let days = (0..365)
        .map(|day| {
            let season = 0.5 + 0.5 * (f64::from(day) * std::f64::consts::TAU / 365.0).sin();
            DpEvent::step(unit, 0.01 + 0.04 * season, touched, sigma * (1.0 + f64::from(day) * 1e-3))
        })
        .collect::<Result<_, _>>()?;
    Ok(DpEvent::Composed { events: days })
}

/// The fastest of five runs, by the clock and (on Linux) by the processor time used, which other work disturbs less.
fn measure(name: &str, event: &DpEvent, delta: f64) -> Result<(), Box<dyn Error>> {
    let (mut wall, mut busy) = (f64::INFINITY, f64::INFINITY);
    let mut spent = None;
    for _ in 0..5 {
        let (start, used) = (Instant::now(), processor_seconds());
        spent = Some(accountant::epsilon(event, delta)?);
        wall = wall.min(start.elapsed().as_secs_f64());
        busy = busy.min(processor_seconds().zip(used).map_or(f64::NAN, |(end, start)| end - start));
    }
    let spent = spent.ok_or("no run")?;
    let rdp = spent.epsilon_rdp.map_or_else(|| "none".to_owned(), |rdp| format!("{rdp:.6}"));
    println!(
        "{name:48} {:8.1} ms   processor {:7.1} ms   ε {:.6}   Rényi {rdp}",
        wall * 1e3,
        busy * 1e3,
        spent.epsilon
    );
    Ok(())
}

/// Time that this process has spent on a processor.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-9)
}
