//! `pilotgate vault`: what is sealed under which root key, and going over to another one.
//!
//! Called by the command tree.

use serde::Serialize;

use crate::{
    cli::{
        Ending,
        connect::ConnectArgs,
        errors::CliError,
        output::{Form, Output},
        render::human,
    },
    proto::admin::v1::{GetVaultStatusRequest, RootKeyOrigin, RotateRootKeyRequest, VaultStatus},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate vault status
    pilotgate vault rotate --reason 'yearly'";

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Tell what is sealed under which root key, and what cannot be read
    Status(Status),
    /// Go over to another root key: a new one, or the one that its file or command gives now
    Rotate(Rotate),
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// Only if this is still the etag that `vault status` tells
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Serialize)]
struct Stands<'a> {
    current_key_id: &'a str,
    origin: &'static str,
    keys: Vec<Used<'a>>,
    resealing: bool,
    unreadable: Vec<Place<'a>>,
    etag: &'a str,
}

#[derive(Serialize)]
struct Used<'a> {
    key_id: &'a str,
    known: bool,
    records: i64,
    bodies: i64,
}

#[derive(Serialize)]
struct Place<'a> {
    place: &'a str,
    description: &'a str,
}

impl Args {
    pub(super) const fn is_json(&self) -> bool {
        match &self.act {
            Act::Status(Status { connect }) | Act::Rotate(Rotate { connect, .. }) => connect.json,
        }
    }
}

/// Does it and prints how the vault stands.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let status = match args.act {
        Act::Status(Status { connect }) => {
            let call = connect.request(GetVaultStatusRequest {});
            connect.vault()?.get_vault_status(call).await?.into_inner().status
        }
        Act::Rotate(Rotate { etag, reason, connect }) => {
            let call = connect.request(RotateRootKeyRequest { etag, reason });
            connect.vault()?.rotate_root_key(call).await?.into_inner().status
        }
    };
    tell(&status.unwrap_or_default(), out)?;
    Ok(Ending::Done)
}

fn tell(status: &VaultStatus, out: &mut Output) -> Result<(), CliError> {
    let origin = match status.origin() {
        RootKeyOrigin::Unspecified => "unspecified",
        RootKeyOrigin::Kept => "kept",
        RootKeyOrigin::Read => "read",
        RootKeyOrigin::Fixed => "fixed",
    };
    if out.form() == Form::Json {
        return out.json(&Stands {
            current_key_id: &status.current_key_id,
            origin,
            keys: status
                .keys
                .iter()
                .map(|key| Used { key_id: &key.key_id, known: key.known, records: key.records, bodies: key.bodies })
                .collect(),
            resealing: status.resealing,
            unreadable: status
                .unreadable
                .iter()
                .map(|it| Place { place: &it.place, description: &it.description })
                .collect(),
            etag: &status.etag,
        });
    }
    for key in &status.keys {
        let which = match (key.key_id == status.current_key_id, key.known) {
            (true, _) => format!("current, {origin}"),
            (false, true) => "earlier".to_owned(),
            (false, false) => human::alarm("not known: name it in vault.previous_root_keys"),
        };
        out.line(&format!("{}  {} records, {} bodies  {which}", key.key_id, key.records, key.bodies))?;
    }
    if status.resealing {
        out.line(&human::faint("what is under earlier keys is being sealed anew"))?;
    }
    for unreadable in &status.unreadable {
        out.line(&human::alarm(&format!("{}: {}", unreadable.place, unreadable.description)))?;
    }
    Ok(())
}
