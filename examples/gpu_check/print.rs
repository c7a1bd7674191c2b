//! The report as text.

use crate::{
    Report,
    checks::{CURVE_TOLERANCE, Curve, F32_ERROR, Gradients, Parameter, TOLERANCE, within},
    speed::{Forecasts, Steps},
};

pub fn head(report: &Report) {
    let cores = report.cpu_cores;
    match &report.gpu {
        Some(gpu) => println!(
            "{}: {}, driver {}; {cores} CPU cores; {}",
            gpu.device,
            gpu.name.as_deref().unwrap_or("unnamed"),
            gpu.driver.as_deref().unwrap_or("unknown"),
            report.preset
        ),
        None => println!("no GPU; {cores} CPU cores; {}", report.preset),
    }
}

pub fn gradients(found: &Gradients) {
    println!("\nmatrix products against f64");
    for p in &found.products {
        let how = if p.reduced_precision { "reduced precision (TF32 or the like)" } else { "f32" };
        println!("  {:>5} × {:>4} × {:>4}  relative error {:.1e}  {how}", p.rows, p.inner, p.columns, p.error);
    }
    println!("\nclipped gradients of {} units, C = {}, {} clipped", found.units, found.clip, found.clipped);
    for p in &found.parameters {
        let (pass, Parameter { name, norm, error, yardstick }) = (word(p.passed()), p);
        println!("  {name:<28} norm {norm:.2e}  error {error:.1e}  yardstick {yardstick:.1e}  {pass}");
    }
    let ([unit, unit_most], [yardstick, yardstick_most]) = (found.unit_error, found.unit_yardstick);
    let pass = word(within(found.sum_error, found.sum_yardstick));
    println!("  whole sum: error {:.1e}, yardstick {:.1e}  {pass}", found.sum_error, found.sum_yardstick);
    println!("  a unit, median: error {unit:.1e}, yardstick {yardstick:.1e}  {}", word(within(unit, yardstick)));
    println!("  a unit, largest: error {unit_most:.1e}, yardstick {yardstick_most:.1e}");
    println!(
        "  yardstick: the processor with weights rounded to 11 bits; tolerance {TOLERANCE} times it, or {F32_ERROR}"
    );
    println!("  longest clipped gradient: {:.12} C  {}", found.longest, word(found.longest <= 1.0));
    println!(
        "  one unit left out: {} other gradients changed, by {:.1e} C at most  {}",
        found.neighbours_changed,
        found.neighbours_difference,
        word(found.neighbours_changed == 0)
    );
    println!("  a unit that overflows is refused by name  {}", word(found.overflow_refused));
}

pub fn curve(curve: &Curve) {
    println!("\nplain training of all parameters, loss");
    let gap = (curve.cpu.len() / 5).max(1);
    for step in (0..curve.cpu.len()).filter(|s| *s == 0 || (s + 1) % gap == 0) {
        let gpu = curve.gpu.as_ref().map_or(String::new(), |gpu| format!("  gpu {:.5}", gpu[step]));
        println!("  step {:>4}  cpu {:.5}{gpu}", step + 1, curve.cpu[step]);
    }
    if let Some(difference) = curve.difference {
        println!(
            "  last fifth: relative difference {difference:.1e}  {} (tolerance {CURVE_TOLERANCE})",
            word(curve.passed())
        );
    }
}

pub fn forecasts(found: &Forecasts) {
    println!(
        "\n{} series forecast on {}: median {:.3} s, fastest {:.3} s (first run {:.3} s)",
        found.series, found.device, found.median_s, found.fastest_s, found.first_s
    );
}

pub fn steps(found: &Steps, first: bool) {
    if first {
        println!("\nwindows a second, private and plain steps on the same parameters; ratio: time private / plain");
        println!("  device   batch   private     plain   ratio   steps   first round");
    }
    println!(
        "  {:<7} {:>6} {:>9.0} {:>9.0}   {:>5.2}   {:>5}   {:>7.2} s",
        found.device, found.batch, found.private, found.plain, found.ratio, found.steps, found.first_s
    );
}

pub fn verdict(report: &Report) {
    match (&report.gpu, report.passed) {
        (None, _) => println!("\nno GPU was checked"),
        (Some(_), true) => println!("\nall checks passed"),
        (Some(_), false) => println!("\na check FAILED"),
    }
}

fn word(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAIL" }
}
