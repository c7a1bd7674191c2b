//! The server alone, over a recorded round.

use std::error::Error;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forecastle_crypto::secagg::{
    AwaitingMaskedUpdates, AwaitingShares, ConsistencySignature, MaskedUpdateHeader, ParticipantNumber, ShareKeys,
    UnmaskResponse,
};
use serde::{Deserialize, Serialize};

use super::Options;
use super::record::{Files, Kind, Record};

/// Bytes of a chunk, as on the wire.
const CHUNK: usize = 64 << 10;

/// What the server's work took, in seconds and bytes.
#[derive(Serialize, Deserialize)]
pub struct Server {
    /// Taking key shares and handing them out.
    pub shares_s: f64,
    /// Adding the masked updates.
    pub adding_s: f64,
    /// Verifying statements.
    pub consistency_s: f64,
    /// Taking answers, reconstructing, removing masks.
    pub unmask_s: f64,
    /// The most memory the process had, in bytes, and what it had before the round began.
    pub peak_bytes: u64,
    pub start_bytes: u64,
    pub survivors: usize,
    pub dropped: usize,
}

/// Feeds one recorded update to the aggregator in chunks, and gives the time that the aggregator took.
pub fn take_update(
    state: &mut AwaitingMaskedUpdates,
    record: &Record,
    from: ParticipantNumber,
) -> Result<Duration, Box<dyn Error>> {
    let header = record.get(Kind::Header, from)?.ok_or("no header")?;
    let mut file = record.update(from)?;
    let mut chunk = vec![0; CHUNK];
    let mut taken = Duration::ZERO;
    let begun = Instant::now();
    let mut upload = state.begin_upload(from, MaskedUpdateHeader::decode(&header)?)?;
    taken += begun.elapsed();
    while !upload.is_complete() {
        let read = file.read(&mut chunk)?;
        let begun = Instant::now();
        upload.push(upload.received(), &chunk[..read])?;
        taken += begun.elapsed();
    }
    let begun = Instant::now();
    state.complete(upload)?;
    Ok(taken + begun.elapsed())
}

/// Runs the server once more over the messages in `folder`.
pub fn replay(folder: &Path) -> Result<Server, Box<dyn Error>> {
    let record = Record(folder.to_owned());
    let offer = record.offer()?;
    let start_bytes = memory("VmRSS:");
    let everyone = offer.everyone();
    let spools = Arc::new(Files::beside(folder));

    let mut shares = Duration::ZERO;
    let mut sharing = AwaitingShares::new(offer.clone(), spools)?;
    for number in everyone.iter() {
        if let Some(bytes) = record.get(Kind::Shares, number)? {
            let begun = Instant::now();
            sharing.receive(number, &ShareKeys::decode(&bytes)?)?;
            shares += begun.elapsed();
        }
    }
    let mut masking = sharing.close()?;
    let begun = Instant::now();
    for number in masking.sharers().clone().iter() {
        masking.delivery(number)?.encode();
    }
    shares += begun.elapsed();

    let mut adding = Duration::ZERO;
    for number in everyone.iter() {
        if record.get(Kind::Header, number)?.is_some() {
            adding += take_update(&mut masking, &record, number)?;
        }
    }
    let begun = Instant::now();
    let (mut consistency, _) = masking.close()?;
    for number in consistency.survivors().clone().iter() {
        if let Some(bytes) = record.get(Kind::Confirmation, number)? {
            consistency.receive(number, &ConsistencySignature::decode(&bytes)?)?;
        }
    }
    let mut unmasking = consistency.close()?;
    for number in unmasking.signers().clone().iter() {
        unmasking.request(number)?.encode();
    }
    let consistency = begun.elapsed();

    let mut unmask = Duration::ZERO;
    for number in everyone.iter() {
        if let Some(bytes) = record.get(Kind::Answer, number)? {
            let begun = Instant::now();
            unmasking.receive(number, &UnmaskResponse::decode(&bytes)?)?;
            unmask += begun.elapsed();
        }
    }
    let begun = Instant::now();
    let aggregate = unmasking.close()?;
    unmask += begun.elapsed();
    Ok(Server {
        shares_s: shares.as_secs_f64(),
        adding_s: adding.as_secs_f64(),
        consistency_s: consistency.as_secs_f64(),
        unmask_s: unmask.as_secs_f64(),
        peak_bytes: memory("VmHWM:"),
        start_bytes,
        survivors: aggregate.survivors.len(),
        dropped: aggregate.sharers.difference(&aggregate.survivors).len(),
    })
}

/// [`replay`] in a process of its own, so that its memory is the server's alone.
pub fn in_its_own_process(options: &Options, folder: &Path) -> Result<Server, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--replay").arg(folder).args(["--participants", &options.participants.to_string()]);
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the server's process failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A line of `/proc/self/status`, in bytes; 0 where there is none.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|l| l.strip_prefix(line)?.trim().strip_suffix(" kB")?.trim().parse().ok());
    kilobytes.map_or(0, |kilobytes: u64| kilobytes << 10)
}
