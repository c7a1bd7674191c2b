//! `forecastle-server serve`.

use std::path::Path;

use forecastle_server::{event::ServerEvent, server::Server};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Format, Outcome};

pub(crate) async fn run(directory: &Path, format: Format) -> Outcome {
    let server = Server::open(directory).await?;
    let listener = server.bind().await?;
    let state = server.state();
    if format == Format::Text {
        say!(
            "serving `{}` on {}; merchants reach it at {}",
            state.federation(),
            listener.local_addr()?,
            state.settings().advertise
        );
    }
    let printer = tokio::spawn(print(server.events(), format, state.plan().privacy.epsilon_cap));
    server.serve(listener, interrupted()).await?;
    // The last events are on their way to the printer: the channel closes with the server.
    drop(server);
    printer.await?;
    if format == Format::Text {
        say!("stopped");
    }
    Ok(())
}

/// Writes events until the server is gone.
async fn print(mut events: Receiver<ServerEvent>, format: Format, cap: f64) {
    loop {
        match events.recv().await {
            Ok(event) => match (format, &event) {
                (Format::Json, event) => {
                    say!("{}", serde_json::to_string(event).expect("events always serialise"));
                }
                (Format::Text, ServerEvent::RoundClosed { epsilon: Some(_), .. }) => say!("{event} of {cap}"),
                (Format::Text, event) => say!("{event}"),
            },
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Resolves on SIGINT, and on Unix on SIGTERM.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
