//! What each merchant spent, one row a merchant, for spreadsheets.

use forecastle_crypto::dp::accountant::Spent;

use super::{ReportError, facts::Facts};

const COLUMNS: [&str; 21] = [
    "federation",
    "log_root",
    "period_start",
    "period_end",
    "unit",
    "delta",
    "epsilon_cap",
    "merchant",
    "enrolled_at",
    "revoked_at",
    "charges_in_log",
    "charges_counted",
    "rounds_in_sum",
    "epsilon_published",
    "epsilon_published_rdp",
    "epsilon_server",
    "epsilon_server_rdp",
    "epsilon_everyone_else",
    "epsilon_everyone_else_rdp",
    "software",
    "findings_in_log",
];

/// The table.
pub(super) fn csv(facts: &Facts) -> Result<String, ReportError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    let promise = &facts.promise;
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for merchant in &facts.merchants {
        let rows = merchant.epsilon;
        let both = |of: fn(&forecastle_crypto::dp::plan::EpsilonRows) -> Spent| {
            let spent = rows.as_ref().map(of);
            [number(spent.map(|s| s.epsilon)), number(spent.and_then(|s| s.epsilon_rdp))]
        };
        let [published, published_rdp] = both(|rows| rows.published);
        let [server, server_rdp] = both(|rows| rows.server);
        let [everyone_else, everyone_else_rdp] = both(|rows| rows.everyone_else);
        let software: Vec<&str> = merchant.software.iter().map(String::as_str).collect();
        let record: [String; COLUMNS.len()] = [
            inert(&facts.log.federation),
            facts.log.root.to_string(),
            promise.period_start.to_string(),
            promise.period_end.to_string(),
            promise.unit.to_string(),
            promise.delta.to_string(),
            promise.epsilon_cap.to_string(),
            merchant.merchant.to_string(),
            super::words::utc(merchant.enrolled_at_ms),
            merchant.revoked_at_ms.map_or_else(String::new, super::words::utc),
            merchant.charges.to_string(),
            merchant.charges_counted.to_string(),
            merchant.rounds_in_sum.to_string(),
            published,
            published_rdp,
            server,
            server_rdp,
            everyone_else,
            everyone_else_rdp,
            inert(&software.join("; ")),
            facts.findings.len().to_string(),
        ];
        writer.write_record(&record)?;
    }
    let bytes = writer.into_inner().map_err(|e| csv::Error::from(e.into_error()))?;
    Ok(String::from_utf8(bytes).expect("every field is UTF-8"))
}

/// Text that no spreadsheet takes for a formula: names in a log were chosen by others.
fn inert(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{text}") } else { text.to_owned() }
}
