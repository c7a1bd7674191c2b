//! Joining over TLS: what is accepted once, and everything that is refused.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::time::Duration;

use forecastle_crypto::{identity::SigningKey, ledger::entry::Entry};
use forecastle_proto::{
    limits::CERTIFICATE_REQUEST_BYTES_MAX,
    round::{StatusRequest, rounds_client::RoundsClient},
};
use support::*;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_enrols_one_merchant_and_repeats_its_answer_to_it_only() {
    let federation = Federation::start(&plan(3, 1_000)).await;
    let invitation = federation.invite().await;
    let identity = SigningKey::generate().unwrap();
    let (request, tls_key) = join_request(&invitation, "shop", &identity);
    let first = send_join(&invitation, request.clone()).await.unwrap();
    assert_eq!(first.federation, "federation");
    // The answer was lost: the same request gets the same certificate, also with a new certificate request.
    assert_eq!(send_join(&invitation, request).await.unwrap().certificate, first.certificate);
    let (again, _) = join_request(&invitation, "shop", &identity);
    assert_eq!(send_join(&invitation, again).await.unwrap().certificate, first.certificate);
    // Anyone else finds the invitation used.
    for (name, key) in [("shop", SigningKey::generate().unwrap()), ("other", identity)] {
        let (request, _) = join_request(&invitation, name, &key);
        let status = send_join(&invitation, request).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("used already"), "{status}");
    }
    let channel = connect(&invitation, Some((&first.certificate, &tls_key))).await.unwrap();
    let status = RoundsClient::new(channel).status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.rounds_planned, status.model_version, status.finished), (3, 0, false));
    let enrolled = federation.entries().await.into_iter().filter(|e| matches!(e, Entry::Enrolled(_))).count();
    assert_eq!(enrolled, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_token_is_refused_in_its_own_words() {
    let federation = Federation::start(&plan(3, 1_000)).await;
    let identity = SigningKey::generate().unwrap();
    let state = federation.server.state();

    let mut wrong = federation.invite().await;
    wrong.token = "00".repeat(32);
    let expired = state.invite(Duration::from_secs(1)).await.unwrap();
    let revoked = federation.invite().await;
    let id = state.invitations().await.unwrap().last().unwrap().id;
    state.revoke_invitation(id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    for (invitation, code, words) in [
        (&wrong, Code::Unauthenticated, "not known here"),
        (&expired, Code::FailedPrecondition, "expired"),
        (&revoked, Code::FailedPrecondition, "revoked"),
    ] {
        let (request, _) = join_request(invitation, "shop", &identity);
        let status = send_join(invitation, request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
    assert!(federation.server.state().merchants().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_forged_requests_leave_the_invitation_usable() {
    let federation = Federation::start(&plan(3, 1_000)).await;
    let invitation = federation.invite().await;
    let identity = SigningKey::generate().unwrap();
    let (good, _) = join_request(&invitation, "shop", &identity);

    let mut name = good.clone();
    name.merchant = "Shop One".into();
    let mut key = good.clone();
    key.identity_key.pop();
    let mut forged = good.clone();
    forged.signature[5] ^= 1;
    let mut renamed = good.clone();
    renamed.merchant = "shop-2".into();
    for (request, code) in [
        (name, Code::InvalidArgument),
        (key, Code::InvalidArgument),
        (forged, Code::Unauthenticated),
        (renamed, Code::Unauthenticated),
    ] {
        assert_eq!(send_join(&invitation, request).await.unwrap_err().code(), code);
    }
    // A certificate request that is signed over but is none.
    let mut garbage = good.clone();
    garbage.certificate_request = vec![7; 300];
    let token = invitation.token_bytes().unwrap();
    let signed = [
        forecastle_crypto::identity::sha256(&token).as_bytes().as_slice(),
        b"shop",
        &[0],
        &garbage.certificate_request[..],
    ]
    .concat();
    garbage.signature = identity.sign("forecastle join v1", &signed).as_bytes().to_vec();
    assert_eq!(send_join(&invitation, garbage).await.unwrap_err().code(), Code::InvalidArgument);
    let mut oversized = good.clone();
    oversized.certificate_request = vec![0; 3 * CERTIFICATE_REQUEST_BYTES_MAX];
    assert_eq!(send_join(&invitation, oversized).await.unwrap_err().code(), Code::OutOfRange);

    send_join(&invitation, good).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_identities_are_taken_once() {
    let federation = Federation::start(&plan(3, 1_000)).await;
    let (first, second) = (federation.invite().await, federation.invite().await);
    let identity = SigningKey::generate().unwrap();
    send_join(&first, join_request(&first, "shop", &identity).0).await.unwrap();
    let other = SigningKey::generate().unwrap();
    let status = send_join(&second, join_request(&second, "shop", &other).0).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("`shop` is taken"), "{status}");
    let status = send_join(&second, join_request(&second, "twin", &identity).0).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    // Neither used the invitation up.
    send_join(&second, join_request(&second, "shop-2", &other).0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_enrolled_certificate_speaks_for_a_merchant() {
    let federation = Federation::start(&plan(3, 1_000)).await;
    let mut merchants = federation.merchants(1).await;
    let invitation = federation.invite().await;

    // None at all.
    let channel = connect(&invitation, None).await.unwrap();
    let status = RoundsClient::new(channel).status(StatusRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("join"), "{status}");

    // One of another authority: the handshake fails, at the latest when the connection is used.
    let key = rcgen::KeyPair::generate().unwrap();
    let foreign = rcgen::CertificateParams::new(vec!["shop-0".to_owned()]).unwrap().self_signed(&key).unwrap();
    if let Ok(channel) = connect(&invitation, Some((foreign.der(), &key.serialize_pem()))).await {
        assert!(RoundsClient::new(channel).status(StatusRequest {}).await.is_err());
    }

    // One of a revoked merchant, also over the connection it has.
    let merchant = merchants.remove(0);
    merchant.rounds().status(StatusRequest {}).await.unwrap();
    federation.server.revoke_merchant(&merchant.name).await.unwrap();
    let status = merchant.rounds().status(StatusRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(federation.entries().await.iter().any(|e| matches!(e, Entry::Revoked(r) if r.merchant == merchant.name)));
    assert!(federation.server.revoke_merchant(&merchant.name).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_authority_that_is_not_on_file_is_refused() {
    use forecastle_server::identity::certificates::Authority;
    let federation = Federation::start(&plan(3, 1_000)).await;
    let invitation = federation.invite().await;
    // Whoever holds the authority's key could issue one; without a row it is worth nothing.
    let keys = federation.state_directory().join("keys");
    let authority = Authority::read(
        std::fs::read(keys.join("authority.der")).unwrap(),
        &std::fs::read(keys.join("authority.key")).unwrap(),
    )
    .unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap().serialize_request(&key).unwrap();
    let issued = authority.issue_merchant(&"ghost".parse().unwrap(), request.der(), 30).unwrap();
    let channel = connect(&invitation, Some((&issued.certificate, &key.serialize_pem()))).await.unwrap();
    let status = RoundsClient::new(channel).status(StatusRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("not on file"), "{status}");
}
