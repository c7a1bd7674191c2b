//! The vectors of `tests/vectors`: read, and every value reproduced, on every run.
//!
//! Each file holds cases of one function: an input with the output it has to give, or with the name of the refusal and the
//! rule that the input breaks. `tests/vectors/README.md` specifies the bytes for whoever writes another implementation;
//! `tests/peers/secagg_vectors.py` is one. The invariant: a file holds exactly the cases planned here, from fixed seeds,
//! and an expected refusal is named by hand, never taken from what the code did.
//!
//! The files are written anew by
//! `cargo test -p forecastle-crypto --lib -- --ignored vectors::files_are_written`.

mod at_participant;
mod at_server;
mod channels;
mod formats;
mod keys;
mod layout;
mod masks;
mod offers;
mod pairs;
mod rounds;
mod sharing;
mod stages;
mod statements;
mod thresholds;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;
use crate::entropy::{Entropy, EntropyUnavailable};
use crate::identity::Sha256Digest;

/// One file of vectors.
trait Topic {
    /// The file's name, without its ending.
    const FILE: &'static str;
    /// What the function does, in one sentence.
    const ABOUT: &'static str;
    /// What all cases have in common.
    type Given: Serialize + DeserializeOwned;
    type Input: Serialize + DeserializeOwned;
    type Output: Serialize + DeserializeOwned + PartialEq + Debug;

    fn given() -> Option<Self::Given> {
        None
    }

    /// The cases, the good ones first.
    fn cases() -> Vec<Planned<Self::Input>>;

    /// What the code makes of an input; a refusal by its name.
    fn run(given: Option<&Self::Given>, input: &Self::Input) -> Result<Self::Output, String>;
}

/// A case before anything is computed.
struct Planned<I> {
    name: String,
    /// For a bad case the rule it breaks and the refusal's name.
    breaks: Option<(&'static str, &'static str)>,
    input: I,
}

fn good<I>(name: impl Into<String>, input: I) -> Planned<I> {
    Planned { name: name.into(), breaks: None, input }
}

fn bad<I>(name: impl Into<String>, rule: &'static str, refused: &'static str, input: I) -> Planned<I> {
    Planned { name: name.into(), breaks: Some((rule, refused)), input }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors<G, I, O> {
    about: String,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    given: Option<G>,
    cases: Vec<Case<I, O>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<I, O> {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    input: I,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    output: Option<O>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "tests", "vectors"].iter().collect()
}

fn path<T: Topic>() -> PathBuf {
    folder().join(T::FILE).with_extension("json")
}

/// Every case of the file gives what the file says, and the file is the one that is planned.
fn check<T: Topic>() {
    let text = std::fs::read_to_string(path::<T>()).unwrap_or_else(|error| panic!("{}: {error}", T::FILE));
    let vectors: Vectors<T::Given, T::Input, T::Output> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", T::FILE));
    let mut names = BTreeSet::new();
    for case in &vectors.cases {
        let Case { name, rule, input, output, refused } = case;
        assert!(names.insert(name), "{}: two cases named {name:?}", T::FILE);
        assert!(output.is_some() != refused.is_some() && rule.is_some() == refused.is_some(), "{}: {name:?}", T::FILE);
        let found = T::run(vectors.given.as_ref(), input);
        assert_eq!((found.as_ref().ok(), found.as_ref().err()), (output.as_ref(), refused.as_ref()), "{name:?}");
    }
    assert!(text == written::<T>(), "{}.json is not what is planned; see tests/vectors/README.md", T::FILE);
}

/// The file's text.
fn written<T: Topic>() -> String {
    let given = T::given();
    let case = |planned: Planned<T::Input>| {
        let Planned { name, breaks, input } = planned;
        let found = T::run(given.as_ref(), &input);
        let expected = breaks.map(|(_, refused)| refused.to_owned());
        assert_eq!(found.as_ref().err(), expected.as_ref(), "{}: {name:?}", T::FILE);
        let rule = breaks.map(|(rule, _)| rule.to_owned());
        Case { name, rule, input, output: found.ok(), refused: expected }
    };
    let cases = T::cases().into_iter().map(case).collect();
    let vectors = Vectors { about: T::ABOUT.to_owned(), given: T::given(), cases };
    layout::lines(&serde_json::to_string(&vectors).expect("vectors have string keys"))
}

macro_rules! topics {
    ($($test:ident: $topic:ty,)*) => {
        $(#[test]
        fn $test() {
            check::<$topic>();
        })*

        #[test]
        fn every_file_has_its_check() {
            let known: BTreeSet<_> = [$(path::<$topic>().file_name().expect("a file").to_owned(),)*].into();
            let files = std::fs::read_dir(folder()).expect("the folder").map(|file| file.expect("a file").file_name());
            let found: BTreeSet<_> = files.filter(|name| name.to_string_lossy().ends_with(".json")).collect();
            assert_eq!(found, known);
        }

        #[test]
        #[ignore = "writes tests/vectors"]
        fn files_are_written() {
            std::fs::create_dir_all(folder()).expect("a folder");
            $(std::fs::write(path::<$topic>(), written::<$topic>()).expect("a file");)*
        }
    };
}

topics! {
    prekeys: keys::Prekeys,
    bundles: keys::Bundles,
    pair_seeds: pairs::PairSeeds,
    self_masks: pairs::SelfMasks,
    sealing: channels::Sealing,
    opening: channels::Opening,
    offers: offers::Offers,
    thresholds: thresholds::Thresholds,
    finder: thresholds::Finder,
    graphs: thresholds::Graphs,
    sharing: sharing::Sharing,
    recovery: sharing::Recovery,
    expansion: masks::Expansion,
    packing: masks::Packing,
    unpacking: masks::Unpacking,
    sets: formats::Sets,
    messages: formats::Messages,
    statements: statements::Statements,
    verification: statements::Verification,
    round_complete: rounds::Complete,
    round_regular: rounds::Regular,
    participant: at_participant::AtParticipant,
    server: at_server::AtServer,
}

/// Bytes, as hexadecimal digits in lower case.
#[derive(Clone, PartialEq, Eq)]
struct Hex(Vec<u8>);

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap_or_else(|_| panic!("{self:?} has not {N} bytes"))
    }
}

impl<T: AsRef<[u8]>> From<T> for Hex {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&HEXLOWER.encode_display(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The output of a function that only says yes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Accepted {
    accepted: bool,
}

const ACCEPTED: Accepted = Accepted { accepted: true };

/// Random bytes that are given instead of drawn.
struct Given(Vec<u8>);

impl Given {
    fn all(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }
}

impl Entropy for Given {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyUnavailable> {
        let rest = self.0.split_off(out.len().min(self.0.len()));
        let given = std::mem::replace(&mut self.0, rest);
        if given.len() < out.len() {
            return Err(EntropyUnavailable);
        }
        out.copy_from_slice(&given);
        Ok(())
    }
}

/// The secret keys of RFC 7748 §6.1.
const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";

/// The name of an error's variant.
fn variant(error: &impl Debug) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Bytes to make inputs from: SHA-256 of a name.
fn fixed(name: &str) -> [u8; 32] {
    sha256(name.as_bytes()).0
}

/// The sid of a round that is not being played.
fn other_sid() -> Sid {
    sha256(b"another round")
}

fn signing_key(seed: &Hex) -> SigningKey {
    SigningKey::danger_from_seed(&seed.array()).expect("32 bytes")
}

fn numbers(of: impl IntoIterator<Item = ParticipantNumber>) -> Vec<u16> {
    of.into_iter().map(ParticipantNumber::get).collect()
}
