//! The arguments that every followed stream has: where it starts, where the place is remembered, when it ends.
//!
//! Called by `watch` and `inbox`.

use std::{path::PathBuf, time::Duration};

use crate::cli::{
    connect::ConnectArgs,
    errors::CliError,
    times,
    watch::{follow::Plan, progress::Progress, start},
};

/// From where, remembered where, until when.
#[derive(Debug, clap::Args)]
pub struct FollowArgs {
    /// Where to start: latest, earliest, a time (RFC 3339) or a cursor. Default: latest; with --message from the
    /// creation of the oldest one; with --subscription where it left off
    #[arg(long, value_name = "START", value_parser = start::origin)]
    pub from: Option<start::Origin>,
    /// Durable subscription that remembers the place in the gateway
    #[arg(long, value_name = "NAME", conflicts_with = "cursor_file")]
    pub subscription: Option<String>,
    /// File that remembers the place on this machine; if it holds a cursor, that wins over --from
    #[arg(long, value_name = "FILE")]
    pub cursor_file: Option<PathBuf>,
    /// End after this many lines
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Longest silence of the gateway, 1s to 5m
    #[arg(long, default_value = "15s", value_name = "SPAN", value_parser = times::span)]
    pub heartbeat: Duration,
    /// End when the connection is lost
    #[arg(long)]
    pub no_reconnect: bool,
    #[command(flatten)]
    pub connect: ConnectArgs,
}

impl FollowArgs {
    /// How to follow.
    pub fn plan(&self) -> Plan {
        Plan {
            reconnect: !self.no_reconnect,
            count: self.count,
            until_final: false,
            patience: self.connect.timeout,
            longest_silence: self.heartbeat * 2 + Duration::from_secs(5),
        }
    }

    /// How far it got, as it is remembered.
    ///
    /// # Errors
    /// [`CliError::Local`] if the cursor file is there but cannot be read.
    pub fn progress(&self) -> Result<Progress, CliError> {
        match (&self.cursor_file, &self.subscription) {
            (Some(path), _) => Progress::in_file(path.clone()),
            (None, Some(name)) => Ok(Progress::in_subscription(name.clone())),
            (None, None) => Ok(Progress::forgotten()),
        }
    }
}
