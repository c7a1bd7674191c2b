//! A federation on loopback that can be killed, restarted and asked for its log.

use std::{fs, path::Path, time::Duration};

use forecastle_crypto::ledger::{
    checkpoint::SignedCheckpoint,
    entry::Entry,
    tiles::{self, TileError},
};
use forecastle_proto::invitation::Invitation;
use forecastle_server::{
    event::ServerEvent,
    init::{InitOptions, init},
    server::Server,
};
use tokio::{net::TcpListener, sync::broadcast, task::JoinHandle};

use super::{PATIENCE, merchant::Merchant, model};

/// Waits until the last connection is closed, for ten seconds at most: it then writes its journal into the database and
/// removes it. A file that is replaced before that is written into afterwards.
pub async fn database_closed(state: &Path) -> bool {
    for _ in 0..1_000 {
        if !state.join("state.sqlite-wal").exists() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// A serving federation.
pub struct Federation {
    pub directory: tempfile::TempDir,
    pub server: Server,
    pub events: broadcast::Receiver<ServerEvent>,
    serving: JoinHandle<()>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    address: std::net::SocketAddr,
}

impl Federation {
    pub async fn start(plan: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = InitOptions {
            listen: address.to_string(),
            advertise: format!("https://{address}"),
            gather: Duration::from_secs(2),
            ..InitOptions::new(plan.as_bytes().to_vec(), model().to_bytes())
        };
        init(&directory.path().join("state"), &options).await.unwrap();
        Self::serve(directory, listener, address).await
    }

    async fn serve(directory: tempfile::TempDir, listener: TcpListener, address: std::net::SocketAddr) -> Self {
        let server = Server::open(&directory.path().join("state")).await.unwrap();
        let events = server.events();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn({
            let server = server.clone();
            async move {
                let ended = server.serve(listener, async { drop(stopped.await) }).await;
                ended.unwrap();
            }
        });
        Self { directory, server, events, serving, stop: Some(stop), address }
    }

    pub fn state_directory(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    /// Ends the process, as far as that can be played inside one: no goodbye, nothing is written.
    pub async fn kill(self) -> tempfile::TempDir {
        self.serving.abort();
        let _ = self.serving.await;
        drop(self.server);
        self.directory
    }

    /// Kills the server and starts it again from its state directory, under the same address.
    pub async fn restart(self) -> Self {
        let address = self.address;
        let directory = self.kill().await;
        // Connections of the dead process may hold the lock and the port for a moment.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Ok(listener) = TcpListener::bind(address).await {
                return Self::serve(directory, listener, address).await;
            }
        }
        panic!("the address stays in use");
    }

    /// Kills the server, puts a copy of its state directory in the place of the newest one, and starts it again.
    pub async fn restored(self, copy: &Path) -> Self {
        let address = self.address;
        let directory = self.kill().await;
        // Tasks of the dead process may write for a moment.
        let state = directory.path().join("state");
        database_closed(&state).await;
        fs::remove_dir_all(&state).unwrap();
        copy_folder(copy, &state);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Ok(listener) = TcpListener::bind(address).await {
                return Self::serve(directory, listener, address).await;
            }
        }
        panic!("the address stays in use");
    }

    /// Stops the server as a signal does.
    pub async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.serving.await.unwrap();
        drop(self.server);
        self.directory
    }

    pub async fn invite(&self) -> Invitation {
        self.server.state().invite(Duration::from_secs(600)).await.unwrap()
    }

    /// Enrols merchants `shop-0` … and leaves pre-keys for each.
    pub async fn merchants(&self, count: usize) -> Vec<Merchant> {
        let mut merchants = Vec::new();
        for i in 0..count {
            let mut merchant = Merchant::join(&self.invite().await, &format!("shop-{i}")).await.unwrap();
            merchant.leave_prekeys(8).await.unwrap();
            merchants.push(merchant);
        }
        merchants
    }

    /// Waits for an event.
    pub async fn event(&mut self, wanted: impl Fn(&ServerEvent) -> bool) -> ServerEvent {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
        .expect("the event comes in time")
    }

    /// The log, entry by entry.
    pub async fn entries(&self) -> Vec<Entry> {
        let target = tempfile::tempdir().unwrap();
        self.server.state().export_ledger(target.path()).await.unwrap();
        read_entries(target.path())
    }
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Leaves of an export, exact bytes.
pub fn read_leaves(export: &Path) -> Vec<Vec<u8>> {
    let note = fs::read_to_string(export.join("checkpoint")).unwrap();
    let size = SignedCheckpoint::parse(&note).unwrap().danger_unverified().size;
    tiles::read_leaves(size, |path| Ok::<_, TileError>(fs::read(export.join(path)).unwrap())).unwrap()
}

/// Entries of an export.
pub fn read_entries(export: &Path) -> Vec<Entry> {
    read_leaves(export).iter().map(|leaf| Entry::from_bytes(leaf).unwrap()).collect()
}
