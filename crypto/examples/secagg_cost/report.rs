//! The round's figures beside the limits.

use std::error::Error;

use serde_json::json;

use super::cohort::Clients;
use super::limits::Limits;
use super::server::Server;
use super::{Format, Options};

/// Prints text or JSON.
pub fn print(
    options: &Options,
    cores: usize,
    clients: &Clients,
    server: &Server,
    limits: &Limits,
) -> Result<(), Box<dyn Error>> {
    let (n, d) = (f64::from(options.participants), f64::from(options.dimension));
    let neighbours = clients.threshold.neighbours().unwrap_or(options.participants - 1);
    let k = f64::from(neighbours);
    let word = if options.bits <= 32 { 4.0 } else { 8.0 };
    let agreement = clients.agreements.as_secs_f64() / k;
    let keystream = |expansions: f64| expansions * d * word / limits.keystream_bytes_per_s;

    let share = clients.share_keys.as_secs_f64();
    let share_less = (share - k * agreement).max(0.0);
    let mask = clients.mask.as_secs_f64();
    let digest = clients.upload_bytes as f64 / limits.digest_bytes_per_s;
    let mask_limit = keystream(k + 1.0);
    // The self-masks of the survivors, and what each dropped one shared with its surviving neighbours (about).
    let (survivors, dropped) = (server.survivors as f64, server.dropped as f64);
    let unmask_limit = keystream(survivors + dropped * k * survivors / n);
    let server_memory = server.peak_bytes.saturating_sub(server.start_bytes);
    let per_parameter = clients.upload_bytes as f64 / d;
    let overhead = clients.other_bytes as f64 / clients.upload_bytes as f64;

    if let Format::Json = options.format {
        let object = json!({
            "participants": options.participants, "neighbours": neighbours, "threshold": clients.threshold.threshold(),
            "assurance": clients.threshold.assurance(), "dimension": options.dimension, "bits": options.bits,
            "survivors": server.survivors, "dropped": server.dropped, "cores": cores,
            "share_keys_s": share, "share_keys_less_agreements_s": share_less, "mask_s": mask,
            "confirm_and_unmask_s": clients.confirm_and_unmask.as_secs_f64(),
            "unmask_s": server.unmask_s, "server_shares_s": server.shares_s, "server_adding_s": server.adding_s,
            "server_consistency_s": server.consistency_s, "server_peak_bytes": server.peak_bytes,
            "server_start_bytes": server.start_bytes,
            "upload_bytes_per_parameter": per_parameter, "other_bytes_share": overhead,
            "keystream_bytes_per_s": limits.keystream_bytes_per_s,
            "digest_bytes_per_s": limits.digest_bytes_per_s, "copy_bytes_per_s": limits.copy_bytes_per_s,
            "agreement_s": agreement, "mask_keystream_s": mask_limit, "unmask_keystream_s": unmask_limit,
        });
        println!("{object}");
        return Ok(());
    }
    let threshold = clients.threshold;
    println!(
        "n = {n}, k = {k}, t = {}, q = {}, d = {d}, b = {}",
        threshold.threshold(),
        threshold.quorum(),
        options.bits
    );
    println!("{} survivors, {} dropped after sharing, {cores} cores", server.survivors, server.dropped);
    println!("the sum was compared with the plain one: equal, bit for bit");
    println!();
    println!(
        "limits of one core    keystream {:.2} GB/s, SHA-256 {:.2} GB/s, copy {:.2} GB/s, agreement {:.1} µs",
        limits.keystream_bytes_per_s / 1e9,
        limits.digest_bytes_per_s / 1e9,
        limits.copy_bytes_per_s / 1e9,
        agreement * 1e6
    );
    println!(
        "one participant       shares {:.2} ms, {:.1} µs a neighbour beyond its agreement",
        share * 1e3,
        share_less / k * 1e6
    );
    println!(
        "                      masking {:.1} ms, {:.2}x its keystream on one core ({:.2}x without agreements and digest)",
        mask * 1e3,
        mask / mask_limit,
        (mask - k * agreement - digest) / mask_limit
    );
    println!("                      confirming and answering {:.2} ms", clients.confirm_and_unmask.as_secs_f64() * 1e3);
    println!(
        "                      upload {per_parameter:.3} bytes a parameter, everything else {:.3} % of it",
        overhead * 100.0
    );
    println!(
        "server                shares {:.1} ms, adding {:.1} ms, consistency {:.1} ms",
        server.shares_s * 1e3,
        server.adding_s * 1e3,
        server.consistency_s * 1e3
    );
    println!(
        "                      unmasking {:.1} ms, {:.2}x its keystream on one core",
        server.unmask_s * 1e3,
        server.unmask_s / unmask_limit
    );
    println!(
        "                      peak memory {:.1} MB, {:.1} MB above the start",
        server.peak_bytes as f64 / 1e6,
        server_memory as f64 / 1e6
    );
    Ok(())
}
