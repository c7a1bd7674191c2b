//! The state directory: founded whole or not at all, held by one process, and refused when its log is not the one
//! that was signed.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::{fs, path::Path};

use forecastle_server::{
    identity::invitations::InvitationState,
    init::{InitError, InitOptions, init},
    ledger::store::LedgerError,
    plans::FOUR_MERCHANTS,
    server::{OpenError, ServeError, Server},
    state::{FederationState, StateError},
};
use support::*;

fn options() -> InitOptions {
    InitOptions::new(FOUR_MERCHANTS.as_bytes().to_vec(), model().to_bytes())
}

/// Runs SQL on a closed state directory.
async fn tamper(state: &Path, sql: &'static str) {
    let pool = forecastle_server::store::open(&state.join("state.sqlite"), false).await.unwrap();
    sqlx::query(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_federation_is_founded_whole_and_private() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("deep/down");
    let founding = init(&directory, &options()).await.unwrap();
    assert_eq!(founding.dimension as usize, DIMENSION);
    let state = FederationState::open(&directory).await.unwrap();
    assert_eq!((state.server_key(), state.plan_bytes()), (founding.server_key, FOUR_MERCHANTS.as_bytes()));
    assert_eq!(state.model(0).await.unwrap().unwrap(), model().to_bytes());
    let status = state.status().await.unwrap();
    assert_eq!((status.rounds_used, status.model_version, status.ledger_entries), (0, 0, 1));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("keys")), 0o700);
        assert_eq!(mode(&directory.join("keys/federation.key")), 0o600);
        assert_eq!(mode(&directory.join("keys/authority.key")), 0o600);
    }
    // Nothing but the state lies in the parent.
    assert_eq!(fs::read_dir(directory.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn nothing_is_left_behind_when_founding_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    let refused = |change: fn(&mut InitOptions)| {
        let (directory, mut options) = (directory.clone(), options());
        change(&mut options);
        async move { init(&directory, &options).await.unwrap_err() }
    };
    assert!(matches!(refused(|o| o.model = b"order_id\n1\n".to_vec()).await, InitError::Model(_)));
    assert!(matches!(refused(|o| o.plan = b"x = 1".to_vec()).await, InitError::Plan(_)));
    assert!(matches!(refused(|o| o.federation = "two words".into()).await, InitError::Name(_)));
    assert!(matches!(refused(|o| o.advertise = "http://x:1".into()).await, InitError::Settings(_)));
    let narrow = |o: &mut InitOptions| o.plan = FOUR_MERCHANTS.replace("bits = 26", "bits = 20").into_bytes();
    let stock = |o: &mut InitOptions| {
        let mut stock = model();
        stock.manifest.settings = serde_json::json!({ "past_channels": ["views", "stock"] });
        o.model = stock.to_bytes();
    };
    assert!(matches!(refused(stock).await, InitError::NotBounded(channel) if channel == "stock"));
    let InitError::Bits { found: 20, needed, merchants: 5 } = refused(narrow).await else { panic!("not for its bits") };
    assert!((21..=26).contains(&needed), "{needed}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

    // It would not fit an entry of the log.
    let long = |o: &mut InitOptions| o.plan.extend([b"\n# ", "\"".repeat(40_000).as_bytes()].concat());
    assert!(matches!(refused(long).await, InitError::Ledger(LedgerError::TooLarge(80_000..))));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("orders.csv"), "x").unwrap();
    assert!(matches!(refused(|_| {}).await, InitError::Exists(_)));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[tokio::test]
async fn one_process_serves_and_a_missing_or_newer_state_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    assert!(matches!(FederationState::open(&directory).await, Err(StateError::Absent(_))));
    init(&directory, &options()).await.unwrap();
    let server = Server::open(&directory).await.unwrap();
    assert!(matches!(Server::open(&directory).await, Err(OpenError::Locked(_))));
    // The port is in use.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = fs::read_to_string(directory.join("server.toml")).unwrap();
    fs::write(
        directory.join("server.toml"),
        settings.replace("listen = \"127.0.0.1:7443\"", &format!("listen = \"{}\"", listener.local_addr().unwrap())),
    )
    .unwrap();
    drop(server);
    let server = Server::open(&directory).await.unwrap();
    assert!(matches!(server.bind().await, Err(ServeError::Listen { .. })));
    drop(server);

    fs::write(directory.join("server.toml"), settings.replace("version = 1", "version = 7")).unwrap();
    let error = FederationState::open(&directory).await.err().unwrap().to_string();
    assert!(error.contains("layout 7"), "{error}");
    fs::write(directory.join("server.toml"), settings).unwrap();
    tamper(&directory, "UPDATE _sqlx_migrations SET version = 9 WHERE version = 2").await;
    let error = FederationState::open(&directory).await.err().unwrap().to_string();
    assert!(error.contains("another version"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_shortened_or_altered_is_refused_at_start() {
    async fn refused(sql: &'static str) -> LedgerError {
        let federation = Federation::start(&plan(1, 1_000)).await;
        federation.merchants(2).await;
        let directory = federation.stop().await;
        let state = directory.path().join("state");
        tamper(&state, sql).await;
        match Server::open(&state).await {
            Err(OpenError::State(StateError::Ledger(error))) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{sql} went unnoticed"),
        }
    }
    assert!(matches!(
        refused("DELETE FROM leaves WHERE idx = 2").await,
        LedgerError::Shortened { found: 2, signed: 3 }
    ));
    assert!(matches!(refused("DELETE FROM leaves WHERE idx = 1").await, LedgerError::Altered { .. }));
    let swapped =
        "UPDATE leaves SET bytes = CAST(replace(CAST(bytes AS TEXT), 'shop-1', 'shop-9') AS BLOB) WHERE idx = 2";
    assert!(matches!(refused(swapped).await, LedgerError::Altered { size: 3 }));
    assert!(matches!(
        refused("UPDATE leaves SET bytes = CAST('{}' AS BLOB) WHERE idx = 2").await,
        LedgerError::Entry { index: 2, .. }
    ));
    let resigned =
        "UPDATE head SET checkpoint = replace(checkpoint, char(10) || '3' || char(10), char(10) || '2' || char(10))";
    assert!(matches!(refused(resigned).await, LedgerError::Checkpoint { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_from_an_older_copy_is_refused() {
    let federation = Federation::start(&plan(1, 1_000)).await;
    federation.merchants(1).await;
    let directory = federation.stop().await;
    let state = directory.path().join("state");
    assert!(database_closed(&state).await);
    let old = fs::read(state.join("state.sqlite")).unwrap();
    // One more entry, then the old database comes back.
    let server = Server::open(&state).await.unwrap();
    server.revoke_merchant(&"shop-0".parse().unwrap()).await.unwrap();
    drop(server);
    assert!(database_closed(&state).await);
    fs::write(state.join("state.sqlite"), old).unwrap();
    let _ = fs::remove_file(state.join("state.sqlite-wal"));
    let _ = fs::remove_file(state.join("state.sqlite-shm"));
    match Server::open(&state).await {
        Err(OpenError::State(StateError::Ledger(LedgerError::Shortened { found: 0..3, signed: 3 }))) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the older copy went unnoticed"),
    }
}

#[tokio::test]
async fn an_altered_model_file_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state");
    init(&directory, &options()).await.unwrap();
    let file = directory.join("models/0.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(Server::open(&directory).await.is_err());
    let state = FederationState::open(&directory).await.unwrap();
    assert!(state.model(0).await.is_err());
    assert!(state.model(1).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_are_listed_with_what_became_of_them() {
    let federation = Federation::start(&plan(1, 1_000)).await;
    federation.merchants(1).await;
    let state = federation.server.state();
    federation.invite().await;
    federation.invite().await;
    state.revoke_invitation(2).await.unwrap();
    assert!(state.revoke_invitation(1).await.unwrap_err().to_string().contains("used by shop-0"));
    assert!(state.revoke_invitation(9).await.is_err());
    let rows: Vec<_> = state.invitations().await.unwrap().into_iter().map(|row| row.state).collect();
    assert_eq!(
        rows,
        [InvitationState::Used { merchant: "shop-0".into() }, InvitationState::Revoked, InvitationState::Open]
    );
    // The token is nowhere on disk.
    let invitation = federation.invite().await;
    let token = invitation.token_bytes().unwrap();
    for file in ["state.sqlite", "state.sqlite-wal"] {
        let bytes = fs::read(federation.state_directory().join(file)).unwrap_or_default();
        assert!(!bytes.windows(token.len()).any(|w| w == token), "{file}");
    }
}
