//! Secrets: shared, and recovered.

use super::*;
use crate::secagg::graph::Point;
use crate::secagg::keys::{AgreementKey, commitment, public_of};
use crate::secagg::shamir::{self, Recovered, Share};

pub(super) struct Sharing;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SharingInput {
    secret: Hex,
    coefficients: Vec<Hex>,
    points: Vec<u8>,
}

impl SharingInput {
    /// With the shares of all these holders.
    fn of(secret: [u8; 32], threshold: usize, holders: u8) -> Self {
        let coefficients = (1..threshold).map(|power| fixed(&format!("coefficient {power}")).into()).collect();
        Self { secret: secret.into(), coefficients, points: (1..=holders).collect() }
    }

    fn shares(&self) -> Vec<Share> {
        let mut coefficients = Given(self.coefficients.iter().flat_map(|row| row.0.clone()).collect());
        let threshold = u16::try_from(self.coefficients.len() + 1).expect("small");
        let holders = usize::from(*self.points.iter().max().expect("a point"));
        shamir::split(&self.secret.array(), threshold, holders, &mut coefficients).expect("given")
    }
}

impl Topic for Sharing {
    const FILE: &'static str = "sharing";
    const ABOUT: &'static str = "The shares of a 32-byte secret at some points; the coefficients begin with that of x, so t is one \
         more than there are.";
    type Given = ();
    type Input = SharingInput;
    type Output = Vec<Hex>;

    fn cases() -> Vec<Planned<SharingInput>> {
        let mut sevens = SharingInput::of([0x2a; 32], 2, 3);
        sevens.coefficients = vec![[7; 32].into()];
        let mut product = SharingInput::of([0; 32], 2, 255);
        // FIPS 197 §4.2: {57}·{83} = {c1}, {57}·{13} = {fe}.
        product.coefficients = vec![[0x57; 32].into()];
        product.points = vec![0x02, 0x13, 0x83];
        let mut all = SharingInput::of(fixed("secret"), 171, 255);
        all.points = vec![1, 2, 128, 254, 255];
        vec![
            good("0x2a + 0x07 x in every byte", sevens),
            good("products of FIPS 197", product),
            good("t = 1: everybody holds the secret", SharingInput::of(fixed("secret"), 1, 2)),
            good("t = 3 of 5", SharingInput::of(fixed("secret"), 3, 5)),
            good("t = 171 of 255", all),
        ]
    }

    fn run(_: Option<&()>, input: &SharingInput) -> Result<Vec<Hex>, String> {
        let shares = input.shares();
        Ok(input.points.iter().map(|point| shares[usize::from(*point) - 1].0.into()).collect())
    }
}

pub(super) struct Recovery;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PointedShare {
    point: u8,
    share: Hex,
}

/// What the secret is recognised by.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Known {
    MaskKey { mask_key: AgreementKey },
    SelfMask { sid: Sid, owner: u16, commitment: Sha256Digest },
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RecoveryInput {
    threshold: u16,
    colluders: u16,
    known: Known,
    shares: Vec<PointedShare>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RecoveryOutput {
    secret: Hex,
    wrong: Vec<u8>,
}

impl RecoveryInput {
    fn of(secret: [u8; 32], known: Known, threshold: usize, points: &[u8]) -> Self {
        let shares = SharingInput::of(secret, threshold, 255).shares();
        let share = |point: &u8| PointedShare { point: *point, share: shares[usize::from(*point) - 1].0.into() };
        let threshold = u16::try_from(threshold).expect("small");
        Self { threshold, colluders: 1, known, shares: points.iter().map(share).collect() }
    }

    /// With the shares at some positions changed in one bit.
    fn wrong_at(&self, positions: &[usize]) -> Self {
        let mut input = self.clone();
        positions.iter().for_each(|position| input.shares[*position].share.0[7] ^= 0x10);
        input
    }
}

impl Topic for Recovery {
    const FILE: &'static str = "recovery";
    const ABOUT: &'static str = "A secret, recovered from shares and recognised by its public key or its commitment, and at whose \
         points certainly wrong shares are.";
    type Given = ();
    type Input = RecoveryInput;
    type Output = RecoveryOutput;

    fn cases() -> Vec<Planned<RecoveryInput>> {
        let (key, seed, sid) = (fixed("S"), fixed("b"), sha256(b"a round"));
        let known_key = Known::MaskKey { mask_key: public_of(&key) };
        let known_seed = Known::SelfMask { sid, owner: 300, commitment: commitment(&sid, &seed, number(300)) };
        let input = |points: &[u8]| RecoveryInput::of(key, known_key.clone(), 3, points);
        let five = input(&[1, 2, 3, 4, 5]);
        let foreign = Known::SelfMask { sid, owner: 301, commitment: commitment(&sid, &seed, number(300)) };
        let fewer = RecoveryInput { threshold: 4, ..input(&[1, 2, 3]) };
        let committed = "t shares give the committed secret";
        vec![
            good("a mask key from exactly t shares", input(&[2, 4, 255])),
            good("a self-mask seed", RecoveryInput::of(seed, known_seed, 3, &[1, 7, 9])),
            good("t = 1", RecoveryInput::of(key, known_key.clone(), 1, &[200])),
            good("a wrong share beyond the first t is not looked at", five.wrong_at(&[4])),
            good("a wrong share among the first t is left out and named", five.wrong_at(&[1])),
            good("one wrong share of t + 1: left out, and certain", input(&[1, 2, 3, 4]).wrong_at(&[0])),
            good(
                "one wrong share of t + 1, where two may collude: left out, and nobody is named",
                RecoveryInput { colluders: 2, ..input(&[1, 2, 3, 4]) }.wrong_at(&[0]),
            ),
            good("two wrong shares of t + 2: left out, but too many to name anybody", five.wrong_at(&[0, 2])),
            bad("fewer than t shares", "at least t shares", "Nothing", fewer),
            bad("t shares, one of them wrong", committed, "Nothing", input(&[1, 2, 3]).wrong_at(&[1])),
            bad("three wrong shares of five", committed, "Nothing", five.wrong_at(&[0, 1, 2])),
            bad(
                "another owner's commitment",
                "a commitment is bound to sid and owner",
                "Nothing",
                RecoveryInput::of(seed, foreign, 3, &[1, 7, 9]),
            ),
        ]
    }

    fn run(_: Option<&()>, input: &RecoveryInput) -> Result<RecoveryOutput, String> {
        let point = |of: &PointedShare| Point::of_rank(usize::from(of.point) - 1).expect("below 255");
        let shares: Vec<_> = input.shares.iter().map(|of| (point(of), Share(of.share.array()))).collect();
        let shares: Vec<_> = shares.iter().map(|(point, share)| (*point, share)).collect();
        let recovered = shamir::recover(&shares, input.threshold, input.colluders, |secret| match &input.known {
            Known::MaskKey { mask_key } => public_of(secret) == *mask_key,
            Known::SelfMask { sid, owner, commitment: known } => commitment(sid, secret, number(*owner)) == *known,
        });
        match recovered {
            Recovered::Secret(secret, wrong) => Ok(RecoveryOutput {
                secret: secret.as_slice().into(),
                wrong: wrong.into_iter().map(Point::get).collect(),
            }),
            Recovered::Nothing => Err("Nothing".to_owned()),
        }
    }
}
