//! Private parts that fuzz targets look at. Only in builds with `--cfg fuzzing`, which no program has.

use crate::entropy::{EntropyUnavailable, SeededEntropy};
use crate::secagg::graph::Point;
use crate::secagg::shamir::{self, Recovered, SECRET_LENGTH, Share};

/// The shares of `secret` at the points 1, 2, …, with coefficients from `seed`.
///
/// # Errors
/// [`EntropyUnavailable`] never: a keystream does not end so soon.
pub fn split(
    secret: &[u8; SECRET_LENGTH],
    threshold: u16,
    holders: usize,
    seed: [u8; 32],
) -> Result<Vec<[u8; SECRET_LENGTH]>, EntropyUnavailable> {
    let shares = shamir::split(secret, threshold, holders, &mut SeededEntropy::danger_from_seed(seed))?;
    Ok(shares.iter().map(|share| share.0).collect())
}

/// The secret that `is_committed` recognises, and the points whose shares were found wrong; `None` where no attempt led to
/// it or they could have been framed by `colluders`. `shares` are of distinct points, none of them 0.
pub fn recover(
    shares: &[(u8, [u8; SECRET_LENGTH])],
    threshold: u16,
    colluders: u16,
    is_committed: impl Fn(&[u8; SECRET_LENGTH]) -> bool,
) -> Option<([u8; SECRET_LENGTH], Vec<u8>)> {
    let shares: Vec<(Point, Share)> = shares
        .iter()
        .filter_map(|(point, share)| Some((Point::of_rank(usize::from(*point).checked_sub(1)?)?, Share(*share))))
        .collect();
    let shares: Vec<(Point, &Share)> = shares.iter().map(|(point, share)| (*point, share)).collect();
    match shamir::recover(&shares, threshold, colluders, is_committed) {
        Recovered::Secret(secret, wrong) => Some((*secret, wrong.into_iter().map(Point::get).collect())),
        Recovered::Nothing => None,
    }
}
