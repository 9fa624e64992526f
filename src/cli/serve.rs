//! `pilotgate serve`: runs the gateway.

use std::path::PathBuf;

use crate::{
    cli::{Ending, errors::CliError, signals},
    config,
    domain::sources::Sources,
    server::{self, logging},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate serve --config pilotgate.toml
    PILOTGATE_GRPC__LISTEN=127.0.0.1:6000 pilotgate serve --config pilotgate.toml";

/// What to serve.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration, in TOML
    #[arg(long, env = "PILOTGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

/// Connections are files, and the usual limit is for programs that open few. What cannot be had is done without.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Serves until a signal ends it. A second signal ends it at once.
///
/// # Errors
/// A configuration that does not hold, or a port or a store that cannot be had.
pub async fn run(args: &Args) -> Result<Ending, CliError> {
    let config = config::load(&args.config).map_err(|error| {
        let problems = error.0.join("\n  ");
        CliError::Local(format!("the configuration {} does not hold:\n  {problems}", args.config.display()))
    })?;
    logging::install(&config.log).map_err(CliError::Local)?;
    raise_file_limit();
    // Before anything is opened, so that a signal during the start ends in order too.
    let mut signals = signals::Ends::listen()?;
    let started = server::start(config, Sources::system()).await;
    let mut gateway = started.map_err(|error| CliError::Local(error.to_string()))?;
    let failure = tokio::select! {
        () = signals.next() => None,
        failure = gateway.failed() => Some(failure),
    };
    tracing::info!("asked to end; a second signal ends at once");
    tokio::select! {
        () = gateway.shutdown() => {}
        () = signals.next() => return Err(CliError::Interrupted),
    }
    failure.map_or(Ok(Ending::Done), |failure| Err(CliError::Local(failure)))
}
