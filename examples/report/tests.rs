//! The page says what the data say, loads nothing and runs nothing.

use super::*;

fn score(wql: f64) -> Option<Accuracy> {
    Some(Accuracy { wql, wape: wql * 1.27 })
}

fn sample() -> ReportData {
    let methods =
        vec![Method::Federated, Method::NoFederation, Method::Alone, Method::SeasonalNaive, Method::SameWeekday];
    let names = ["Copper Kettle", "North Quay", "Little <Attic>", "Old Mill"];
    let row = |number: usize, merchant: &str| {
        let shift = number as f64 * 0.013;
        let federated = if number == 2 { 0.561 } else { 0.502 };
        AccuracyRow {
            merchant: merchant.into(),
            series: 84,
            scores: [federated, 0.548, 0.571, 0.902, 0.611].map(|wql| score(wql + shift)).to_vec(),
        }
    };
    let wave = |day: usize| 8.0 + 4.0 * (day as f32 * std::f32::consts::TAU / 7.0).sin();
    let rounds = (1..=40).map(|number| Round {
        number,
        invited: 12,
        survivors: if number == 17 { 9 } else { 12 },
        epsilon: Some(5.4 * (number as f64 / 40.0).sqrt()),
        model: (number != 23).then_some(number),
        seconds: 2.4,
    });
    let fan = |title: &str, promoted: bool| Fan {
        title: title.into(),
        merchant: "Copper Kettle".into(),
        start: "2025-05-05".into(),
        step_days: 1,
        history: (0..56).map(|day| (day != 20).then(|| wave(day).round())).collect(),
        actual: (56..84)
            .map(|day| Some((wave(day) * if promoted && day > 70 && day < 76 { 2.5 } else { 1.0 }).round()))
            .collect(),
        quantiles: (56..84)
            .map(|day| {
                std::array::from_fn(|level| {
                    let lift = if promoted && day > 70 && day < 76 { 2.2 } else { 1.0 };
                    (wave(day) * lift + (level as f32 - 4.0) * 1.1 * lift).max(0.0)
                })
            })
            .collect(),
        promotion: (0..84).map(|day| promoted && (71..76).contains(&day)).collect(),
        caption: "Chosen by its number of sales before the held-back days.".into(),
    };
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    ReportData {
        title: "Marketplace of 4 merchants".into(),
        subtitle: "Sample data of a test".into(),
        finished_at: "2025-07-01 12:00".into(),
        command: "cargo run --release --example marketplace -- --merchants 4 --seed 1".into(),
        facts: pairs(&[("merchants", "4"), ("series", "336"), ("rounds", "40"), ("seed", "1"), ("model", "nano-daily")]),
        privacy: Privacy {
            unit: "customer".into(),
            neighbours: "addition or removal of all lines of one customer of one merchant".into(),
            delta: 1e-6,
            cap: 8.0,
            guarantees: vec![
                Guarantee { adversary: "Anyone".into(), means: "All published models.".into(), epsilon: Some(5.4) },
                Guarantee { adversary: "The server".into(), means: "Everything it saw, and two merchants who help it.".into(), epsilon: Some(6.1) },
                Guarantee { adversary: "All others together".into(), means: "Only this merchant's own share of the noise protects its customers.".into(), epsilon: None },
            ],
            charges: pairs(&[("mechanism", "Poisson-subsampled Gaussian, customer mixture"), ("σ", "3.2 C"), ("q", "0.25"), ("steps", "40")]),
            bounds: pairs(&[("order lines", "8"), ("series", "2"), ("units", "40")]),
            bounded_lines: Some(BoundedLines { before: 423_365, kept: 411_200 }),
            ledger: Ledger { verified: true, root: "9f".repeat(32), entries: 492, detail: "Every entry, inclusion proof and signature was checked.".into() },
            claim: "For any customer of a merchant, of whom in every step at most 8 order lines over 2 products were used, the messages satisfy (ε, δ)-differential privacy.".into(),
        },
        rounds: rounds.collect(),
        accuracy: AccuracyTable {
            rows: names.iter().enumerate().map(|(number, name)| row(number, name)).collect(),
            total: row(0, "all merchants"),
            methods,
        },
        fans: vec![fan("Espresso beans, hand-roasted", true), fan("Notebook, dotted", false)],
        reliability: vec![
            Reliability { name: "federated".into(), below: [0.14, 0.22, 0.31, 0.41, 0.51, 0.6, 0.71, 0.81, 0.9] },
            Reliability { name: "no federation".into(), below: [0.2, 0.29, 0.38, 0.46, 0.55, 0.63, 0.7, 0.77, 0.84] },
        ],
        imports: vec![Import {
            merchant: "Copper Kettle".into(),
            file: "orders.csv".into(),
            rows: 44_517,
            imported: 44_513,
            rejected: vec![("duplicate order line".into(), 1), ("impossible date".into(), 1), ("negative price".into(), 1)],
        }],
        size_advice: "At 4 merchants the noise is larger than the signal; from about 11 merchants on it would not be.".into(),
    }
}

#[test]
fn the_page_shows_the_numbers_and_loads_nothing() {
    let html = render(&sample()).unwrap();
    if let Some(path) = std::env::var_os("FORECASTLE_SAMPLE_REPORT") {
        std::fs::write(path, &html).unwrap();
    }
    for text in
        ["5.40", "no bound", "0.5020", "2.9 %", "This is not a claim of anonymity.", "verified", "1 × negative price"]
    {
        assert!(html.contains(text), "{text}");
    }
    assert!(html.contains("Federation did not help Little &#60;Attic&#62;:"));
    assert!(!html.contains("Little <Attic>"));
    assert_eq!(html.matches("<svg").count(), 5);
    assert_eq!(html.matches("<script").count() + html.matches(" src=").count() + html.matches("url(").count(), 0);
    let links = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!links.contains("http://") && !links.contains("https://"));
}

#[test]
fn a_ledger_that_fails_is_said_to_fail() {
    let mut data = sample();
    data.privacy.ledger.verified = false;
    data.privacy.ledger.detail = "entry 17 is missing".into();
    let html = render(&data).unwrap();
    assert!(html.contains("not verified") && html.contains("entry 17 is missing"));
}

#[test]
fn data_that_contradict_themselves_are_refused() {
    let mut data = sample();
    data.fans[0].actual.pop();
    assert!(render(&data).unwrap_err().to_string().contains("27 held-back days, 28 forecasts"));
    let mut data = sample();
    data.accuracy.rows[1].scores.pop();
    assert!(render(&data).unwrap_err().to_string().contains("North Quay"));
    let mut data = sample();
    data.fans[1].start = "May".into();
    assert!(render(&data).unwrap_err().to_string().contains("is no date"));
}

#[test]
fn a_run_without_rounds_or_scores_still_renders() {
    let mut data = sample();
    data.rounds.clear();
    data.reliability.clear();
    data.fans.clear();
    for row in data.accuracy.rows.iter_mut().chain([&mut data.accuracy.total]) {
        row.scores = vec![None; 5];
    }
    assert!(render(&data).unwrap().contains("was not compared"));
    let json = serde_json::to_string(&data).unwrap();
    let read: ReportData = serde_json::from_str(&json).unwrap();
    assert_eq!(render(&read).unwrap(), render(&data).unwrap());
}
