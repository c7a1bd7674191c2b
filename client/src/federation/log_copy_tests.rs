//! What a merchant believes of a log that a lying server shows it.

use forecastle_crypto::{
    identity::{SigningKey, sha256},
    ledger::entry::{Enrolled, Revoked, RoundClosed},
};
use forecastle_proto::ledger::InclusionPath;

use super::*;

const LOG: &str = "market";

fn key(seed: u8) -> SigningKey {
    SigningKey::danger_from_seed(&[seed; 32]).unwrap()
}

fn shop(name: &str) -> MerchantId {
    name.parse().unwrap()
}

/// An entry of the stored log.
fn example(index: usize) -> Entry {
    let log = include_str!("../../../crypto/tests/golden/log.jsonl");
    Entry::from_bytes(log.lines().nth(index).unwrap().as_bytes()).unwrap()
}

/// The merchant `own`, whose server's key is `key(1)` and whose own is `key(2)`.
fn reader() -> Reader {
    let membership = Membership {
        version: 1,
        federation: LOG.into(),
        server: "https://localhost:1".into(),
        server_name: "localhost".into(),
        merchant: shop("own"),
        server_key: key(1).verifying_key(),
    };
    let Entry::Founded(founded) = example(0) else { panic!() };
    Reader { membership, identity: key(2).verifying_key(), plan_sha256: sha256(founded.plan.as_bytes()) }
}

fn founded() -> Entry {
    let Entry::Founded(mut founded) = example(0) else { panic!() };
    founded.federation = LOG.into();
    founded.server_key = key(1).verifying_key();
    Entry::Founded(founded)
}

fn enrolled(name: &str, seed: u8) -> Entry {
    Entry::Enrolled(Enrolled { merchant: shop(name), identity: key(seed).verifying_key(), at_ms: 1 })
}

/// A charge of `own` for the round of `sid`, signed by `key(seed)`.
fn charge(sid: &[u8], seed: u8) -> SignedCharge {
    let Entry::Charge(signed) = example(5) else { panic!() };
    let charge = forecastle_crypto::ledger::entry::Charge { merchant: shop("own"), sid: sha256(sid), ..signed.charge };
    SignedCharge::sign(charge, &key(seed))
}

/// The end of the round of `sid`, with `own` in its sum and its charge at `index`.
fn closed(sid: &[u8], index: u64) -> Entry {
    let Entry::RoundClosed(closed) = example(9) else { panic!() };
    Entry::RoundClosed(RoundClosed {
        sid: sha256(sid),
        roster: vec![shop("other"), shop("own")],
        sharers: vec![1, 2],
        survivors: vec![1, 2],
        charges: vec![0, index],
        ..closed
    })
}

/// A server's log, as long as it likes.
struct Server(Vec<Vec<u8>>);

impl Server {
    fn of(entries: &[Entry]) -> Self {
        Self(entries.iter().map(Entry::to_bytes).collect())
    }

    fn tree(&self) -> MerkleTree {
        MerkleTree::from_leaf_hashes(self.0.iter().map(|leaf| leaf_hash(leaf)))
    }

    fn note(&self) -> String {
        Checkpoint::of(LOG, &self.tree()).sign(LOG, &key(1)).unwrap().to_string()
    }

    fn consistency(&self, copy: &LogCopy) -> Vec<Vec<u8>> {
        let old = copy.newest.as_ref().map_or(0, |(newest, _)| newest.size).min(self.0.len() as u64);
        bytes(&self.tree().consistency_proof(old, self.0.len() as u64).unwrap().path)
    }

    /// What [`LogCopy::sync`] does with this server's answers.
    fn shown_to(&self, copy: &mut LogCopy) -> Result<u64, LogError> {
        let checkpoint = copy.follow(&self.note(), self.consistency(copy))?;
        let mut fetched = copy.nothing_fetched(1 << 20);
        for leaf in &self.0[copy.size() as usize..] {
            copy.take(&mut fetched, leaf.clone())?;
        }
        copy.keep(fetched, &checkpoint, &self.note())
    }

    fn inclusion(&self, copy: &LogCopy, index: Option<u64>) -> InclusionResponse {
        let inclusion = index.map(|index| {
            let proof = self.tree().inclusion_proof(index, self.0.len() as u64).unwrap();
            InclusionPath { index, path: bytes(&proof.path) }
        });
        InclusionResponse { checkpoint: self.note(), consistency: self.consistency(copy), inclusion }
    }
}

fn bytes(path: &[Sha256Digest]) -> Vec<Vec<u8>> {
    path.iter().map(|digest| digest.0.to_vec()).collect()
}

fn copy(folder: &tempfile::TempDir) -> LogCopy {
    LogCopy::open_in(folder.path().join("log"), reader()).unwrap()
}

/// A copy that has seen three entries.
fn three() -> (tempfile::TempDir, LogCopy, Vec<Entry>) {
    let folder = tempfile::tempdir().unwrap();
    let mut copy = copy(&folder);
    let entries = vec![founded(), enrolled("own", 2), enrolled("other", 3)];
    assert_eq!(Server::of(&entries).shown_to(&mut copy).unwrap(), 3);
    (folder, copy, entries)
}

#[test]
fn a_log_that_grows_is_followed_and_remembered_over_a_restart() {
    let (folder, mut seen, mut entries) = three();
    assert_eq!(Server::of(&entries).shown_to(&mut seen).unwrap(), 0);
    entries.push(enrolled("third", 4));
    assert_eq!(Server::of(&entries).shown_to(&mut seen).unwrap(), 1);
    drop(seen);
    let again = copy(&folder);
    assert_eq!((again.size(), again.newest.as_ref().unwrap().0.size), (4, 4));
    assert!(again.identity_of(&shop("third")).is_some());
    let (leaves, note) = again.export().unwrap();
    assert_eq!((leaves, note), (Server::of(&entries).0, Server::of(&entries).note()));
}

#[test]
fn a_log_that_shrank_or_was_rewritten_is_refused_before_its_entries_are_read() {
    let (_folder, mut copy, entries) = three();
    let refused = Server::of(&entries[..2]).shown_to(&mut copy).unwrap_err();
    assert!(matches!(refused, LogError::Shrunk { seen: 3, now: 2 }), "{refused}");
    for more in [0, 1, 5] {
        let mut other = vec![founded(), enrolled("own", 2), enrolled("nobody", 3)];
        other.extend((0..more).map(|i| enrolled(&format!("new-{i}"), 5)));
        let refused = Server::of(&other).shown_to(&mut copy).unwrap_err();
        assert!(matches!(refused, LogError::Forked { seen: 3, .. }), "{refused}");
        assert!(refused.to_string().contains("history was rewritten"));
    }
    // A proof that is none.
    let grown = Server::of(&[entries.as_slice(), &[enrolled("new", 5)]].concat());
    assert!(matches!(copy.follow(&grown.note(), vec![]), Err(LogError::Forked { .. })));
    assert!(matches!(copy.follow(&grown.note(), vec![vec![0; 31]]), Err(LogError::Call(CallError::Answer(_)))));
    assert!(matches!(copy.follow(&grown.note(), vec![vec![0; 32]; 99]), Err(LogError::Call(CallError::Answer(_)))));
    let unsigned = Checkpoint::of(LOG, &grown.tree()).sign(LOG, &key(9)).unwrap().to_string();
    assert!(matches!(copy.follow(&unsigned, grown.consistency(&copy)), Err(LogError::Checkpoint(_))));
    // Nothing of all that was taken over.
    assert_eq!(Server::of(&entries).shown_to(&mut copy).unwrap(), 0);
}

#[test]
fn entries_that_do_not_give_the_signed_root_are_refused() {
    let (_folder, mut copy, mut entries) = three();
    entries.push(enrolled("third", 4));
    let signed = Server::of(&entries);
    let checkpoint = copy.follow(&signed.note(), signed.consistency(&copy)).unwrap();
    let mut fetched = copy.nothing_fetched(1 << 20);
    copy.take(&mut fetched, enrolled("third", 5).to_bytes()).unwrap();
    assert!(matches!(copy.keep(fetched, &checkpoint, &signed.note()), Err(LogError::Root { size: 4 })));
    assert_eq!(copy.size(), 3);
}

#[test]
fn a_charge_that_is_not_in_the_log_is_noticed_and_the_checkpoint_is_held_against_the_server() {
    let (folder, mut seen, mut entries) = three();
    let mine = charge(b"round 1", 2);
    let leaf = leaf_hash(&Entry::Charge(mine.clone()).to_bytes());
    entries.push(Entry::Charge(mine.clone()));
    entries.push(enrolled("third", 4));
    let honest = Server::of(&entries);
    let answer = honest.inclusion(&seen, Some(3));
    seen.check_inclusion(&mine, &leaf, answer).unwrap();
    // Its entries were not fetched yet, and still the server cannot go back behind it, not even after a restart.
    assert_eq!((seen.size(), seen.newest.as_ref().unwrap().0.size), (3, 5));
    drop(seen);
    let mut seen = copy(&folder);
    let without = Server::of(&[&entries[..3], &entries[4..]].concat());
    let refused = seen.check_inclusion(&mine, &leaf, without.inclusion(&seen, None)).unwrap_err();
    assert!(matches!(refused, LogError::Shrunk { seen: 5, now: 4 }), "{refused}");
    assert_eq!(honest.shown_to(&mut seen).unwrap(), 2);
    assert_eq!(seen.own_charges().count(), 1);

    // It is not there at all, or the proof is of another entry.
    let (_folder, mut copy, _) = three();
    let refused = copy.check_inclusion(&mine, &leaf, without.inclusion(&copy, None)).unwrap_err();
    assert!(matches!(&refused, LogError::ChargeMissing { .. }), "{refused}");
    assert!(refused.to_string().contains("stays masked"));
    let refused = copy.check_inclusion(&mine, &leaf, without.inclusion(&copy, Some(3))).unwrap_err();
    assert!(matches!(refused, LogError::ChargeMissing { .. }), "{refused}");
}

#[test]
fn what_this_merchant_knows_better_is_refused_with_the_entry() {
    let add = |entries: Vec<Entry>| {
        let folder = tempfile::tempdir().unwrap();
        let mut copy = copy(&folder);
        Server::of(&entries).shown_to(&mut copy)
    };
    let refused = |entries: Vec<Entry>| match add(entries) {
        Err(LogError::Entry { index, why }) => (index, why),
        other => panic!("{other:?}"),
    };
    let start = || vec![founded(), enrolled("own", 2), enrolled("other", 3)];
    let with = |more: Vec<Entry>| [start(), more].concat();
    assert_eq!(add(with(vec![Entry::Charge(charge(b"1", 2)), closed(b"1", 3)])).unwrap(), 5);

    let (index, why) = refused(vec![founded(), enrolled("own", 7)]);
    assert!(index == 1 && why.contains("another key under this merchant's name"), "{why}");
    let (index, why) = refused(with(vec![Entry::Charge(charge(b"1", 7))]));
    assert!(index == 3 && why.contains("never signed"), "{why}");
    for wrong in [closed(b"1", 2), closed(b"2", 3), closed(b"1", 9)] {
        let (index, why) = refused(with(vec![Entry::Charge(charge(b"1", 2)), wrong]));
        assert!(index == 4 && why.contains("counts no charge"), "{why}");
    }
    let (index, why) = refused(vec![enrolled("own", 2)]);
    assert!(index == 0 && why.contains("does not found"), "{why}");
    let (index, _) = refused(with(vec![founded()]));
    assert_eq!(index, 3);
    let (index, _) = refused(with(vec![enrolled("other", 3)]));
    assert_eq!(index, 3);
    // A name, or a version of the model, that passes to somebody or something else.
    let revoked = || Entry::Revoked(Revoked { merchant: shop("other"), at_ms: 2 });
    let (index, why) = refused(with(vec![revoked(), enrolled("other", 5)]));
    assert!(index == 4 && why.contains("name of a merchant that was revoked"), "{why}");
    let again = |version| {
        let Entry::RoundClosed(mut again) = closed(b"2", 9) else { panic!() };
        (again.survivors, again.charges, again.model_version) = (vec![1], vec![0], version);
        Entry::RoundClosed(again)
    };
    let (index, why) = refused(with(vec![again(1), again(2), again(2)]));
    assert!(index == 5 && why.contains("there before"), "{why}");
    assert!(add(with(vec![again(1), again(4)])).is_ok());
    // Another plan than the one that was joined.
    let Entry::Founded(mut other_plan) = founded() else { panic!() };
    other_plan.plan.push_str("# weaker\n");
    let (index, why) = refused(vec![Entry::Founded(other_plan)]);
    assert!(index == 0 && why.contains("another plan"), "{why}");
    // A round without this merchant, or one in which it fell silent, needs no charge of it.
    let Entry::RoundClosed(mut without) = closed(b"1", 9) else { panic!() };
    without.survivors = vec![1];
    without.charges = vec![0];
    assert_eq!(add(with(vec![revoked(), Entry::RoundClosed(without)])).unwrap(), 5);
}

#[test]
fn a_log_without_an_end_takes_no_more_room_than_is_given() {
    let (_folder, copy, _) = three();
    let leaf = enrolled("new", 5).to_bytes();
    let mut fetched = copy.nothing_fetched(2 * leaf.len());
    copy.take(&mut fetched, leaf).unwrap();
    copy.take(&mut fetched, enrolled("neu", 6).to_bytes()).unwrap();
    let refused = copy.take(&mut fetched, enrolled("x", 7).to_bytes()).unwrap_err();
    assert!(matches!(&refused, LogError::Call(CallError::Answer(why)) if why.contains("at once")), "{refused}");
}

#[test]
fn what_a_round_rests_on_is_the_last_of_model_enrolments_and_own_charge() {
    let (_folder, mut copy, mut entries) = three();
    let names = [shop("own"), shop("other"), shop("third")];
    assert_eq!((copy.entries_behind(names[..2].iter()), copy.is_known(&names[1])), (3, None));
    entries.extend([Entry::Charge(charge(b"1", 2)), enrolled("third", 4), enrolled("fourth", 5)]);
    Server::of(&entries).shown_to(&mut copy).unwrap();
    assert_eq!((copy.entries_behind(names[..2].iter()), copy.entries_behind(names.iter())), (4, 5));
    let known = |name: &str| copy.is_known(&shop(name)).unwrap();
    assert!(known("own") && known("other") && !known("third") && !known("nobody"));
    entries.push(closed(b"1", 3));
    Server::of(&entries).shown_to(&mut copy).unwrap();
    assert_eq!(copy.entries_behind(names[..1].iter()), 7);
    assert_eq!(
        (copy.published_by(sha256(b"1")), copy.published_by(sha256(b"2"))),
        (copy.latest_model().map(|m| m.0), None)
    );
}

#[test]
fn an_entry_of_an_unknown_kind_is_refused_by_name() {
    let (_folder, mut copy, entries) = three();
    let mut server = Server::of(&entries);
    server.0.push(br#"{"entry":"charge-2","charge":{}}"#.to_vec());
    let refused = server.shown_to(&mut copy).unwrap_err().to_string();
    assert!(refused.contains("entry 3") && refused.contains("`charge-2`") && refused.contains("update"), "{refused}");
}

#[test]
fn altered_files_of_the_copy_are_refused() {
    let (folder, copy, _) = three();
    drop(copy);
    let path = folder.path().join("log/entries.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let reopen = || LogCopy::open_in(folder.path().join("log"), reader());
    assert!(reopen().is_ok());
    std::fs::write(&path, text.replace("\"other\"", "\"ither\"")).unwrap();
    assert!(matches!(reopen(), Err(LogError::Root { size: 3 })));
    let shorter: Vec<_> = text.lines().take(2).collect();
    std::fs::write(&path, shorter.join("\n") + "\n").unwrap();
    assert!(matches!(reopen(), Err(LogError::Root { size: 3 })));
}
