//! Lies before the first round: what is joined, whose it is, and who serves it.

use forecastle_client::{
    federation::{connection::CallError, join::JoinError, log_copy::LogError},
    round::driver::TrainError,
};
use forecastle_crypto::{
    dp::{filter::Refusal, plan::PrivacyPlan},
    identity::SigningKey,
};
use forecastle_proto::enrolment::{JoinResponse, PreviewResponse};
use forecastle_server::identity::certificates::Authority;
use forecastle_tests::{merchant::Merchant, server::Federation};
use tempfile::TempDir;

use crate::{
    puppet::{Face, Puppet, pem, script::hook},
    scene::{Scene, plan, stopped_alone},
};

/// A merchant that has not joined yet, and the puppet that it would join by.
async fn newcomer(federation: &Federation, folder: &TempDir, name: &str) -> (Merchant, Puppet, String) {
    let merchant = Merchant::new(folder.path(), name);
    let puppet = Puppet::before(&merchant, federation).await;
    let invitation = puppet.diverted(federation.invite().await).to_string();
    (merchant, puppet, invitation)
}

/// The plan with less noise, which the default policy accepts: its cap is the same, and it is kept.
fn weaker() -> PrivacyPlan {
    let mut plan = plan();
    plan.step.noise_multiplier *= 0.65;
    plan
}

/// Gain: a merchant that adds two thirds of the noise that everybody else believes it adds.
#[tokio::test(flavor = "multi_thread")]
async fn one_merchant_cannot_be_given_another_plan() {
    let epsilon = |plan: PrivacyPlan| plan.epsilon_rows(384, 2).unwrap().server.epsilon;
    let (told, spent) = (epsilon(plan()), epsilon(weaker()));
    assert!(spent > 1.5 * told && spent < 8.0, "{spent} instead of {told}");
    let weaker = || weaker().to_toml().into_bytes();
    let federation = Federation::found(&plan()).await;
    let folder = tempfile::tempdir().unwrap();

    // Shown the one, given the other.
    let (merchant, puppet, invitation) = newcomer(&federation, &folder, "first").await;
    puppet.script(|script| script.joined = hook(move |answer: &mut JoinResponse| answer.plan = weaker()));
    let refused = merchant.join(&invitation).await.unwrap_err();
    assert!(matches!(&refused, JoinError::Call(CallError::Answer(why)) if why.contains("other terms")), "{refused}");
    assert!(!merchant.home().is_joined());

    // One below the policy is not joined at all (more on that in tests/joining.rs).
    let (merchant, puppet, invitation) = newcomer(&federation, &folder, "second").await;
    let mut open_handed = plan();
    open_handed.privacy.epsilon_cap = 20.0;
    let open_handed = open_handed.to_toml().into_bytes();
    puppet.script(|script| {
        script.preview = hook(move |answer: &mut PreviewResponse| answer.plan.clone_from(&open_handed))
    });
    let refused = merchant.join(&invitation).await.unwrap_err();
    assert!(matches!(&refused, JoinError::Policy(Refusal::Policy(why)) if why.contains("20")), "{refused}");

    // Consistently another one: the merchant cannot know, until it sees under which plan the federation was founded.
    let (merchant, puppet, invitation) = newcomer(&federation, &folder, "third").await;
    puppet.script(|script| {
        script.preview = hook(move |answer: &mut PreviewResponse| answer.plan = weaker());
        script.joined = hook(move |answer: &mut JoinResponse| answer.plan = weaker());
    });
    merchant.join(&invitation).await.unwrap();
    let refused = stopped_alone(&merchant).await;
    let TrainError::Log(LogError::Entry { index: 0, why }) = refused else { panic!("{refused}") };
    assert!(why.contains("under another plan than the one this merchant joined"), "{why}");
    assert_eq!(puppet.sent(), [], "nothing left, not even a pre-key");
}

/// Gain: offers and a log for one merchant, which no other merchant and no auditor would accept, or ever see.
#[tokio::test(flavor = "multi_thread")]
async fn one_merchant_cannot_be_given_another_key() {
    let federation = Federation::found(&plan()).await;
    let folder = tempfile::tempdir().unwrap();
    let other = SigningKey::generate().unwrap().verifying_key().as_bytes().to_vec();
    let (merchant, puppet, invitation) = newcomer(&federation, &folder, "first").await;
    let key = other.clone();
    puppet.script(|script| script.joined = hook(move |answer: &mut JoinResponse| answer.server_key.clone_from(&key)));
    let refused = merchant.join(&invitation).await.unwrap_err().to_string();
    assert!(refused.contains("under other terms than it had shown"), "{refused}");

    let (merchant, puppet, invitation) = newcomer(&federation, &folder, "second").await;
    let key = other.clone();
    puppet.script(|script| {
        script.preview = hook(move |answer: &mut PreviewResponse| answer.server_key.clone_from(&key));
        script.joined = hook(move |answer: &mut JoinResponse| answer.server_key.clone_from(&other));
    });
    merchant.join(&invitation).await.unwrap();
    let refused = stopped_alone(&merchant).await;
    assert!(matches!(refused, TrainError::Log(LogError::Checkpoint(_))), "{refused}");
    assert_eq!(puppet.sent(), []);
}

/// Gain: a place between merchant and server, from which every message could be held back, and those before joining read.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_certificate_of_the_server_s_is_not_the_server() {
    let scene = Scene::open(&plan()).await;
    let (victim, other) = (&scene.merchants[0], &scene.merchants[1]);
    let read = |merchant: &Merchant, name: &str| std::fs::read_to_string(merchant.folder.join(name)).unwrap();
    let keys = scene.federation.directory().join("keys");
    let key = |name: &str| std::fs::read(keys.join(name)).unwrap();
    let authority = Authority::read(key("authority.der"), &key("authority.key")).unwrap();
    let issued = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.issue_server(&[name.into()]).unwrap();
        Face::Other(pem("CERTIFICATE", &certificate), pem("PRIVATE KEY", key.secret_der()))
    };
    let foreign = Authority::create("market").unwrap();
    let foreign = Authority::read(foreign.certificate, &foreign.key).unwrap();
    let faces = [
        // Another merchant, with the certificate that it was given to call with.
        (Face::Other(read(other, "client.pem"), read(other, "tls.pem")), "its certificate is not one of a server"),
        // A server of the same federation under another name.
        (issued(&authority, "elsewhere.example"), "its certificate is for another host name"),
        // An authority that calls itself the same.
        (issued(&foreign, "127.0.0.1"), "not issued by the federation that invited this merchant"),
    ];
    let membership = victim.folder.join("federation.toml");
    let text = std::fs::read_to_string(&membership).unwrap();
    for (face, rule) in faces {
        let puppet = Puppet::with_face(victim, &scene.federation, face).await;
        let diverted = puppet.diverted(scene.federation.invite().await).server;
        let at = text.lines().find(|line| line.starts_with("server = ")).unwrap();
        std::fs::write(&membership, text.replace(at, &format!("server = \"{diverted}\""))).unwrap();
        let refused = stopped_alone(victim).await;
        let trust = matches!(&refused, TrainError::Log(LogError::Call(CallError::Trust { .. })));
        assert!(trust && refused.to_string().contains(rule), "instead of `{rule}`: {refused}");
        assert_eq!(puppet.sent(), []);
    }
}

/// Gain: a person who reads on the terminal what the server wants; a merchant whose deadlines mean nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_federation_is_looked_at_before_it_is_joined() {
    let federation = Federation::found(&plan()).await;
    let folder = tempfile::tempdir().unwrap();
    let (merchant, puppet, invitation) = newcomer(&federation, &folder, "shop").await;
    puppet.script(|script| {
        script.preview = hook(|answer: &mut PreviewResponse| {
            answer.federation = "market\u{1b}[2J\u{1b}[1;1Hε so far: 0".into();
        });
    });
    let refused = merchant.join(&invitation).await.unwrap_err().to_string();
    assert!(refused.contains("is no name of a federation") && !refused.contains('\u{1b}'), "{refused}");
    puppet.script(|script| script.preview = hook(|answer: &mut PreviewResponse| answer.server_time_ms += 3_600_000));
    let refused = merchant.join(&invitation).await.unwrap_err();
    assert!(matches!(refused, JoinError::Clock { direction: "behind", .. }), "{refused}");
    puppet.script(|script| script.preview = hook(|answer: &mut PreviewResponse| answer.server_key.truncate(31)));
    let refused = merchant.join(&invitation).await.unwrap_err().to_string();
    assert!(refused.contains("the server's key is not 32 bytes long"), "{refused}");
    // None of it used the invitation up.
    puppet.script(|script| script.preview = None);
    merchant.join(&invitation).await.unwrap();
}
