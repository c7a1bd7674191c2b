//! Whom a federation turns away, and whom a merchant does not believe.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::time::Duration;

use forecastle_client::{
    federation::{
        connection::{CallError, Connection},
        join::{JoinError, join, preview},
        log_copy::{LogCopy, LogError},
    },
    round::driver::{TrainError, now_ms},
};
use forecastle_crypto::{
    dp::filter::{MerchantPolicy, Refusal},
    identity::SigningKey,
};
use forecastle_tests::{merchant::Merchant, plan, server::Federation};

async fn federation() -> Federation {
    Federation::found(&plan(2, 60_000)).await
}

async fn enrolled(federation: &Federation) -> Vec<String> {
    federation.state().await.merchants().await.unwrap().into_iter().map(|m| m.name.to_string()).collect()
}

/// A merchant that has joined `federation`.
async fn member(federation: &Federation, folder: &tempfile::TempDir, name: &str) -> Merchant {
    let merchant = Merchant::new(folder.path(), name);
    merchant.join(&federation.invite().await.to_string()).await.unwrap();
    merchant
}

/// What fetching the log ends with.
async fn sync(merchant: &Merchant) -> Result<u64, LogError> {
    let home = merchant.home();
    let membership = home.membership().unwrap();
    let connection = Connection::open(&home, &membership).unwrap();
    LogCopy::open(&home, &membership).unwrap().sync(&connection).await
}

fn call_of(error: LogError) -> CallError {
    match error {
        LogError::Call(error) => error,
        other => panic!("another error: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_never_given_out_enrols_nobody() {
    let (federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let mut invitation = federation.invite().await;
    let other = if invitation.token.starts_with('0') { "1" } else { "0" };
    invitation.token.replace_range(..1, other);
    let merchant = Merchant::new(folder.path(), "shop");
    let error = merchant.join(&invitation.to_string()).await.unwrap_err();
    assert!(matches!(&error, JoinError::Call(CallError::Refused(why)) if why.contains("not known here")), "{error}");
    assert!(!merchant.home().is_joined());
    assert!(enrolled(&federation).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_token_enrols_no_second_merchant() {
    let (federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let invitation = federation.invite().await.to_string();
    Merchant::new(folder.path(), "first").join(&invitation).await.unwrap();
    let second = Merchant::new(folder.path(), "second");
    let error = second.join(&invitation).await.unwrap_err().to_string();
    assert!(error.contains("used already") && error.contains("new one"), "{error}");
    // Nor under the first one's name, with keys of its own.
    let impostor = Merchant { name: "first".into(), folder: folder.path().join("impostor") };
    let error = impostor.join(&invitation).await.unwrap_err().to_string();
    assert!(error.contains("used already"), "{error}");
    assert!(!second.home().is_joined() && !impostor.home().is_joined());
    assert_eq!(enrolled(&federation).await, ["first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_invitation_is_refused_by_the_merchant_and_by_the_server() {
    let (federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let merchant = Merchant::new(folder.path(), "shop");
    let mut invitation = federation.state().await.invite(Duration::from_secs(1)).await.unwrap();
    let late = invitation.expires_ms + 1;
    let policy = MerchantPolicy::default();
    let joined = join(&merchant.home(), &invitation.to_string(), "shop".parse().unwrap(), &policy, late).await;
    assert!(matches!(joined.unwrap_err(), JoinError::Expired));
    // A merchant that reads another time into it still finds the server's own record.
    invitation.expires_ms = now_ms() + 3_600_000;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let error = merchant.join(&invitation.to_string()).await.unwrap_err();
    assert!(matches!(&error, JoinError::Call(CallError::Gone(why)) if why.contains("expired")), "{error}");
    assert!(!merchant.home().is_joined());
    assert!(enrolled(&federation).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_above_the_merchants_own_cap_is_not_joined_until_the_merchant_allows_it() {
    let (federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let merchant = Merchant::new(folder.path(), "shop");
    let invitation = federation.invite().await.to_string();
    let strict = MerchantPolicy { epsilon_max: 7.5, ..MerchantPolicy::default() };
    let error = merchant.join_under(&invitation, &strict).await.unwrap_err();
    assert!(matches!(&error, JoinError::Policy(Refusal::Policy(why)) if why.contains("7.5")), "{error}");
    assert!(!merchant.home().is_joined());
    assert!(!merchant.folder.join("plan.toml").exists());
    // The refusal has used nothing up, and nobody waits for a merchant that did not come.
    assert!(enrolled(&federation).await.is_empty());
    merchant.join(&invitation).await.unwrap();
    assert!(merchant.home().is_joined());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_federation_opens_no_connection() {
    let (ours, theirs, folder) = (federation().await, federation().await, tempfile::tempdir().unwrap());
    let (merchant, stranger) = (member(&ours, &folder, "shop").await, member(&theirs, &folder, "stranger").await);
    assert!(sync(&merchant).await.unwrap() >= 2, "with its own certificate it reads the log");
    for file in ["client.pem", "tls.pem"] {
        std::fs::copy(merchant.folder.join(file), folder.path().join(file)).unwrap();
        std::fs::copy(stranger.folder.join(file), merchant.folder.join(file)).unwrap();
    }
    // The alert that names the reason may drown in the end of the connection; the advice is there either way.
    let error = call_of(sync(&merchant).await.unwrap_err());
    assert!(matches!(error, CallError::Trust { .. } | CallError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("accept this merchant's certificate"), "{error}");
    // With the own certificate put back it reads on.
    for file in ["client.pem", "tls.pem"] {
        std::fs::copy(folder.path().join(file), merchant.folder.join(file)).unwrap();
    }
    sync(&merchant).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_of_another_federation_is_not_believed() {
    let (ours, theirs, folder) = (federation().await, federation().await, tempfile::tempdir().unwrap());
    let merchant = member(&ours, &folder, "shop").await;
    let path = merchant.folder.join("federation.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let moved = text.replace(&ours.address().to_string(), &theirs.address().to_string());
    assert_ne!(text, moved);
    std::fs::write(&path, moved).unwrap();
    let error = call_of(sync(&merchant).await.unwrap_err());
    assert!(matches!(&error, CallError::Trust { why, .. } if why.contains("not issued by the federation")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_named_with_what_to_do() {
    let (mut federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let merchant = member(&federation, &folder, "shop").await;
    let invitation = federation.invite().await.to_string();
    federation.kill().await;
    let error = call_of(sync(&merchant).await.unwrap_err());
    let CallError::Unreachable { server, .. } = &error else { panic!("{error}") };
    assert!(server.ends_with(&federation.address().to_string()), "{server}");
    let sentence = error.to_string();
    assert!(sentence.contains("does not answer") && sentence.contains("run the same command again"), "{sentence}");
    // Joining says the same, and goes on once the server is back.
    let late = Merchant::new(folder.path(), "late");
    let error = late.join(&invitation).await.unwrap_err();
    assert!(matches!(error, JoinError::Call(CallError::Unreachable { .. })), "{error}");
    assert!(!late.home().is_joined());
    federation.restart().await;
    late.join(&invitation).await.unwrap();
    assert_eq!(enrolled(&federation).await, ["late", "shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_signed_by_another_key_than_the_one_joined_is_refused() {
    let (federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let merchant = member(&federation, &folder, "shop").await;
    merchant.import(0);
    let path = merchant.folder.join("federation.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (key, other) = (federation.state().await.server_key(), SigningKey::generate().unwrap().verifying_key());
    let altered = text.replace(&key.to_string(), &other.to_string());
    assert_ne!(text, altered);
    std::fs::write(&path, altered).unwrap();
    let error = sync(&merchant).await.unwrap_err();
    assert!(matches!(&error, LogError::Checkpoint(_)), "{error}");
    // Training stops before anything is sent.
    let (trained, _) = merchant.train().end().await;
    assert!(matches!(trained.result, Err(TrainError::Log(LogError::Checkpoint(_)))), "{:?}", trained.result);
    assert!(!merchant.folder.join("log/entries.jsonl").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_the_plan_and_enrols_nobody() {
    let (federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let invitation = federation.invite().await.to_string();
    let shown = preview(&invitation, now_ms()).await.unwrap();
    assert_eq!(shown.plan, plan(2, 60_000));
    assert_eq!(shown.server_key, federation.state().await.server_key());
    assert!(enrolled(&federation).await.is_empty());
    // It may be looked at twice, and used afterwards; whoever has no invitation sees nothing.
    preview(&invitation, now_ms()).await.unwrap();
    Merchant::new(folder.path(), "shop").join(&invitation).await.unwrap();
    let mut foreign = federation.invite().await;
    foreign.token.replace_range(..2, if foreign.token.starts_with("00") { "11" } else { "00" });
    let error = preview(&foreign.to_string(), now_ms()).await.unwrap_err();
    assert!(matches!(&error, JoinError::Call(CallError::Refused(why)) if why.contains("not known here")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_named_before_anything_is_used_up() {
    let (federation, folder) = (federation().await, tempfile::tempdir().unwrap());
    let invitation = federation.invite().await.to_string();
    let merchant = Merchant::new(folder.path(), "shop");
    let policy = MerchantPolicy::default();
    let behind = now_ms() - 3_600_000;
    let error = join(&merchant.home(), &invitation, "shop".parse().unwrap(), &policy, behind).await.unwrap_err();
    assert!(matches!(&error, JoinError::Clock { direction: "behind", .. }), "{error}");
    assert!(enrolled(&federation).await.is_empty());
    merchant.join(&invitation).await.unwrap();
}
