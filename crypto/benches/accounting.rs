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

/// The fastest of five runs.
fn measure(name: &str, event: &DpEvent, delta: f64) -> Result<(), Box<dyn Error>> {
    let mut best = f64::INFINITY;
    let mut spent = None;
    for _ in 0..5 {
        let start = Instant::now();
        spent = Some(accountant::epsilon(event, delta)?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    let spent = spent.ok_or("no run")?;
    println!("{name:52} {:9.1} ms   ε = {:.6}   Rényi {:?}", best * 1e3, spent.epsilon, spent.epsilon_rdp);
    Ok(())
}
