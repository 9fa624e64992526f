//! `pilotgate token`: makes a caller token.

use serde::Serialize;

use crate::{
    cli::{
        Ending,
        errors::CliError,
        output::{Form, Output},
    },
    domain::{secret::CallerToken, sources::Sources},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate token
    pilotgate token --json | jq -r .hash";

/// What to make.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    token: &'a str,
    hash: &'a str,
}

/// Makes a token and prints it, once, with the hash that goes into the configuration.
///
/// # Errors
/// The output's own.
pub fn run(_: &Args, out: &mut Output) -> Result<Ending, CliError> {
    let token = CallerToken::generate(&Sources::system());
    let hash = token.hash().to_hex();
    match out.form() {
        Form::Json => out.json(&Made { token: token.expose(), hash: &hash })?,
        Form::Human => {
            out.line(&format!("token  {}", token.expose()))?;
            out.line(&format!("hash   {hash}"))?;
            out.note("\nGive the token to the caller; it is shown only now. Put the hash into token_hashes.");
        }
    }
    Ok(Ending::Done)
}
