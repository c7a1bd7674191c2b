//! The report as text. Each section says how long after the start of the program it was ready.

use std::time::Instant;

use crate::{
    Findings, Report,
    checks::{F32_ERROR, Gradients, Parameter, TOLERANCE, within},
    curves::{self, Curve},
    speed::{Forecasts, Steps},
};

/// Prints sections.
#[derive(Clone, Copy)]
pub struct Printer {
    /// When the program started.
    pub start: Instant,
}

impl Printer {
    pub fn head(self, report: &Report) {
        let cores = report.cpu_cores;
        let Some(gpu) = &report.gpu else { return println!("no GPU; {cores} CPU cores") };
        println!(
            "{}: {}, {}, driver {}; {cores} CPU cores",
            gpu.device,
            gpu.name.as_deref().unwrap_or("unnamed"),
            gpu.memory.map_or("memory unknown".into(), gigabytes),
            gpu.driver.as_deref().unwrap_or("unknown"),
        );
        match gpu.kernels_kept {
            Some(bytes) => println!("compiled kernels of earlier runs: {}", gigabytes(bytes)),
            None => println!("compiled kernels are not kept"),
        }
    }

    pub fn preset(self, found: &Findings) {
        let [all, federated] = found.parameters;
        println!("\n== {}: {all} parameters, {federated} of them trained in rounds", found.preset);
    }

    pub fn gradients(self, found: &Gradients) {
        println!("\nmatrix products against f64 {}", self.since());
        for p in &found.products {
            let how = if p.reduced_precision { "reduced precision (TF32 or the like)" } else { "f32" };
            println!("  {:>5} × {:>4} × {:>4}  relative error {:.1e}  {how}", p.rows, p.inner, p.columns, p.error);
        }
        println!(
            "\nclipped gradients of {} units, C = {}, {} clipped; the first sum took {:.2} s",
            found.units, found.clip, found.clipped, found.first_s
        );
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

    pub fn curve(self, curve: &Curve) {
        println!("\n{} {}", curve.what, self.since());
        let gap = (curve.cpu.len() / 5).max(1);
        for point in (0..curve.cpu.len()).filter(|p| *p == 0 || (p + 1) % gap == 0) {
            let gpu = curve.gpu.as_ref().map_or(String::new(), |gpu| format!("  gpu {:.5}", gpu[point]));
            println!("  step {:>4}  cpu {:.5}{gpu}", (point + 1) * curve.every, curve.cpu[point]);
        }
        if let Some(difference) = curve.difference {
            println!(
                "  last fifth: relative difference {difference:.1e}  {} (tolerance {})",
                word(curve.passed()),
                curves::TOLERANCE
            );
        }
    }

    pub fn forecasts(self, found: &Forecasts) {
        println!(
            "\n{} series forecast on {}: median {:.3} s, fastest {:.3} s (first run {:.3} s) {}",
            found.series,
            found.device,
            found.median_s,
            found.fastest_s,
            found.first_s,
            self.since()
        );
    }

    pub fn steps(self, found: &Steps, first: bool) {
        if first {
            println!("\nwindows a second, private and plain steps on the same parameters; ratio: time private / plain");
            println!("  device   batch   private     plain   ratio   steps   first round      memory");
        }
        println!(
            "  {:<7} {:>6} {:>9.0} {:>9.0}   {:>5.2}   {:>5}   {:>9.2} s   {:>9} {}",
            found.device,
            found.batch,
            found.private,
            found.plain,
            found.ratio,
            found.steps,
            found.first_s,
            found.memory.map_or(String::new(), gigabytes),
            self.since()
        );
    }

    pub fn passes(self, found: &Findings) {
        if let Some([units, rows, batch]) = found.passes {
            println!("\none pass holds {units} units, {rows} forecasts, {batch} windows of plain training");
        }
    }

    pub fn verdict(self, report: &Report) {
        let word = match (&report.gpu, report.passed) {
            (None, _) => "no GPU was checked",
            (Some(_), true) => "all checks passed",
            (Some(_), false) => "a check FAILED",
        };
        println!("\n{word} ({:.1} s)", report.seconds);
    }

    fn since(self) -> String {
        format!("[{:.1} s]", self.start.elapsed().as_secs_f64())
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

fn word(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAIL" }
}
