//! Every participant of the round, one after another, and the server they talk to.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forecastle_crypto::dp::noise::{NoiseSampler, Variance};
use forecastle_crypto::entropy::SystemEntropy;
use forecastle_crypto::identity::{MerchantId, SigningKey, sha256};
use forecastle_crypto::quantize::{Grid, NoisedUpdate, ResidueSum};
use forecastle_crypto::secagg::{
    AdvertisingKeys, AwaitingKeys, AwaitingMaskedUpdates, ParticipantNumber, ParticipantSet, RoundTerms,
    ValidThreshold, generate_prekey,
};

use super::Options;
use super::limits;
use super::record::{Files, Kind, Record};
use super::server::take_update;

/// What a participant's work took, each the best over the first participants: the limits beside it are best tries too.
pub struct Clients {
    pub threshold: ValidThreshold,
    pub share_keys: Duration,
    /// As many agreements as a participant makes for its shares, timed in turns with them.
    pub agreements: Duration,
    pub mask: Duration,
    pub confirm_and_unmask: Duration,
    pub upload_bytes: usize,
    /// Bytes of everything else that one participant sends.
    pub other_bytes: usize,
}

/// Participants that are timed.
const TIMED: usize = 9;

fn thresholds(options: &Options) -> Result<(ValidThreshold, u16), Box<dyn Error>> {
    let n = options.participants;
    let drop_outs = (f64::from(n) * options.drop_out).floor() as u16;
    let (m, colluders) = (n - drop_outs, options.colluders);
    let threshold = if options.neighbours == 0 {
        let t = options.threshold.unwrap_or_else(|| ValidThreshold::propose_shares(n));
        ValidThreshold::new(n, m, t, colluders)?
    } else {
        let k = options.neighbours;
        let t = options.threshold.unwrap_or_else(|| k.saturating_sub(drop_outs));
        ValidThreshold::regular(n, m, t, colluders, k)?
    };
    Ok((threshold, drop_outs))
}

fn terms(options: &Options, threshold: ValidThreshold) -> Result<RoundTerms, Box<dyn Error>> {
    let honest = f64::from(threshold.survivors_min() - threshold.colluders());
    Ok(RoundTerms {
        federation: "cost".into(),
        run: 1,
        round: 1,
        model_version: 0,
        model_sha256: sha256(b"model"),
        layout_sha256: sha256(b"layout"),
        dimension: options.dimension,
        bits: options.bits,
        units_per_clip: 1_000,
        clip: 1.0,
        sigma_total: 1.0,
        variance_local: Variance::from_sigma_ceil(1_000.0 / honest.sqrt())?,
        survivors_min: threshold.survivors_min(),
        threshold: threshold.threshold(),
        neighbours: threshold.neighbours(),
        colluders_assumed: threshold.colluders(),
        plan_sha256: sha256(b"plan"),
        deadline_ms: 1,
        ledger_size: 0,
        ledger_root: sha256(b""),
    })
}

/// An update with real noise on its first coordinates: how it came about is not what is measured here.
fn update(grid: Grid, number: ParticipantNumber, variance: Variance) -> Result<NoisedUpdate, Box<dyn Error>> {
    let values: Vec<f64> =
        (0..grid.dimension()).map(|i| ((i * 31 + usize::from(number.get()) * 17) % 997) as f64 / 997.0).collect();
    let quantized = grid.quantize(&values)?;
    if grid.dimension() <= 4_096 {
        return Ok(quantized.with_noise(NoiseSampler::default().source()?.as_mut(), variance)?);
    }
    Ok(quantized.danger_without_noise())
}

fn best(times: &[Duration]) -> Duration {
    times.iter().take(TIMED).min().copied().unwrap_or_default()
}

/// Runs the round to its sum, which is compared with the plain one, and keeps every message.
pub fn run(options: &Options, folder: &Path) -> Result<Clients, Box<dyn Error>> {
    let record = Record(folder.to_owned());
    let (threshold, drop_outs) = thresholds(options)?;
    let federation = SigningKey::generate()?;
    let mut entropy = SystemEntropy::new();
    let (mut keys, mut waiting) = (AwaitingKeys::new(), Vec::new());
    for number in 0..options.participants {
        let merchant: MerchantId = format!("shop-{number}").parse()?;
        let identity = Arc::new(SigningKey::generate()?);
        let (bundle, secret) = generate_prekey(&merchant, &identity, 1, &mut entropy)?;
        keys.add(merchant.clone(), identity.verifying_key(), bundle)?;
        waiting.push(AdvertisingKeys::new(merchant, identity, secret));
    }
    let spools = Arc::new(Files::beside(folder));
    let (mut sharing, signed) = keys.close(terms(options, threshold)?, &federation, spools)?;
    record.put_offer(&signed, &federation.verifying_key())?;
    let offer = record.offer()?;
    let (mut agreement_times, mut share_times) = (Vec::new(), Vec::new());
    let (mut mask_times, mut answer_times) = (Vec::new(), Vec::new());
    let mut other_bytes = 0;

    let mut sharers = Vec::new();
    for (number, state) in offer.everyone().iter().zip(waiting) {
        let state = state.accept(offer.clone())?;
        if agreement_times.len() < TIMED {
            agreement_times.push(limits::agreements(offer.graph().neighbours_each()));
        }
        let begun = Instant::now();
        let (state, message) = state.share_keys(&mut entropy)?;
        share_times.push(begun.elapsed());
        sharing.receive(number, &message)?;
        record.put(Kind::Shares, number, &message.encode())?;
        other_bytes = other_bytes.max(message.encode().len());
        sharers.push((number, state));
    }
    let mut masking: AwaitingMaskedUpdates = sharing.close()?;

    // Every so-manieth vanishes now, when the others mask against it.
    let vanish: ParticipantSet = (0..usize::from(drop_outs))
        .map(|i| i * usize::from(options.participants) / usize::from(drop_outs) + 1)
        .filter_map(ParticipantNumber::from_position)
        .collect();
    let mut plain = ResidueSum::new(offer.grid());
    let mut survivors = Vec::new();
    let mut upload_bytes = 0;
    for (number, state) in sharers {
        if vanish.contains(number) {
            continue;
        }
        let delivered = masking.delivery(number)?;
        let update = update(offer.grid(), number, offer.terms().variance_local)?;
        plain.add(&update)?;
        let begun = Instant::now();
        let (state, masked) = state.mask(delivered, update)?;
        mask_times.push(begun.elapsed());
        upload_bytes = masked.bytes().len();
        record.put(Kind::Header, number, &masked.header().encode())?;
        record.put(Kind::Update, number, masked.bytes())?;
        take_update(&mut masking, &record, number)?;
        survivors.push((number, state));
    }
    let (mut consistency, set) = masking.close()?;

    let mut confirmed = Vec::new();
    for (number, state) in survivors {
        let begun = Instant::now();
        let (state, signature) = state.confirm(set.clone())?;
        confirmed.push((number, state, begun.elapsed()));
        consistency.receive(number, &signature)?;
        record.put(Kind::Confirmation, number, &signature.encode())?;
    }
    let mut unmasking = consistency.close()?;
    let mut answer_bytes = 0;
    for (number, state, confirming) in confirmed {
        let request = unmasking.request(number)?;
        let begun = Instant::now();
        let answered = state.unmask(&request)?;
        answer_times.push(confirming + begun.elapsed());
        let answer = answered.answer(&request)?;
        unmasking.receive(number, answer)?;
        answer_bytes = answer_bytes.max(answer.encode().len());
        record.put(Kind::Answer, number, &answer.encode())?;
    }
    if unmasking.close()?.residues != plain.residues() {
        return Err("the unmasked sum is not the plain one".into());
    }
    Ok(Clients {
        threshold,
        share_keys: best(&share_times),
        agreements: best(&agreement_times),
        mask: best(&mask_times),
        confirm_and_unmask: best(&answer_times),
        upload_bytes,
        other_bytes: other_bytes + answer_bytes + 200,
    })
}
