//! The signals that ask a server to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::errors::CliError;

/// SIGTERM and SIGINT.
pub struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    /// Begins to listen; from now on neither ends the process by itself.
    ///
    /// # Errors
    /// The system's own.
    pub fn listen() -> Result<Self, CliError> {
        let on = |kind| signal(kind).map_err(|error| CliError::Local(format!("cannot listen for signals: {error}")));
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
