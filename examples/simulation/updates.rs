//! A round of local steps: every merchant trains by itself, and the updates are added.
//!
//! Training and release are the merchant's own code. Each merchant has its own sample and noise, derived from the seed,
//! the round and its place, so that results do not depend on the number of processors.

use forecastle_client::{
    model::Model,
    train::{ContributionError, LocalSteps, RoundTraining, Sampling},
};
use forecastle_crypto::{
    dp::{clip, noise::ExactSampler, release::Release},
    identity::sha256,
    quantize::{GridError, ResidueSum},
};

use super::{
    federation::{Federation, FederationError, Privacy, plain_sum},
    parallel,
};

impl Federation<'_> {
    /// Sum of all merchants' updates of a round that begins at `model`, `[d]`. Without privacy the updates are clipped
    /// and neither noised nor rounded; `at` is seed and round.
    pub(super) fn update_sum(
        &self,
        steps: LocalSteps,
        model: &Model,
        privacy: Privacy,
        at: (u64, u32),
    ) -> Result<Vec<f64>, FederationError> {
        let places: Vec<usize> = (0..self.merchants.len()).collect();
        let dimension = u32::try_from(model.federated_len()).map_err(|_| GridError::Dimension(u32::MAX))?;
        let named =
            |place: usize, source| FederationError::Contribution { merchant: self.merchants[place].0.clone(), source };
        if privacy == Privacy::Off {
            let updates = parallel::each(places, |place| {
                let mut sampling = sampling(at, place);
                let mut update = steps
                    .walk(model, &self.merchants[place].1, &mut sampling, Ok)
                    .map_err(|source| named(place, source))?;
                if clip::to_norm(&mut update, self.plan.update_clip()).is_err() {
                    update.fill(0.0);
                }
                Ok::<_, FederationError>(update)
            })?;
            return Ok(plain_sum(&updates, model.federated_len()));
        }
        let training = RoundTraining::of(self.plan);
        let updates = parallel::each(places, |place| {
            let mut noise = ExactSampler::danger_from_seed(digest(at, place, b"noise"));
            let release = Release::new(self.plan, dimension, &mut noise).map_err(ContributionError::from);
            release
                .and_then(|release| {
                    training.contribute(model, &self.merchants[place].1, &mut sampling(at, place), release)
                })
                .map_err(|source| named(place, source))
        })?;
        let mut total = ResidueSum::new(self.plan.grid(dimension)?);
        updates.iter().try_for_each(|update| total.add(update))?;
        Ok(total.dequantize())
    }
}

fn sampling(at: (u64, u32), place: usize) -> Sampling {
    let digest = digest(at, place, b"sampling");
    Sampling::danger_seeded(u64::from_le_bytes(digest[..8].try_into().expect("invariant: a digest has 32 bytes")))
}

fn digest((seed, round): (u64, u32), place: usize, purpose: &[u8]) -> [u8; 32] {
    let mut bytes = seed.to_le_bytes().to_vec();
    bytes.extend(round.to_le_bytes());
    bytes.extend((place as u64).to_le_bytes());
    bytes.extend(purpose);
    sha256(&bytes).0
}
