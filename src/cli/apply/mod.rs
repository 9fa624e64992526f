//! `pilotgate apply`: makes the stored numbers and callers what a file says.
//!
//! The file is checked whole, compared with what is there, and only then anything is changed, each time based on the state
//! that was compared. What is disabled stays so: an emergency is not undone by a file. Called by the command tree.

mod carry_out;
mod file;
pub(in crate::cli) mod forms;
mod plan;
pub(in crate::cli) mod present;
mod tell;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use self::{carry_out::Work, plan::Manner, tell::Became};
use crate::cli::{Ending, connect::ConnectArgs, errors::CliError, output::Output};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate export > gateway.toml
    pilotgate apply -f gateway.toml --dry-run
    pilotgate apply -f gateway.toml --reason 'change 4711'
    pilotgate apply -f gateway.toml --prune --dry-run --exit-code";

/// Which file, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// TOML with [[numbers]] and [[callers]] as in the configuration; `-`: standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit status 1 if something would be changed
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    /// Delete the numbers and callers that the file does not name
    #[arg(long)]
    prune: bool,
    /// Set the key of every number that the file has one for, not only of new ones
    #[arg(long)]
    set_keys: bool,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Does it and prints what came of it.
///
/// # Errors
/// The gateway's refusal, what is wrong with the file, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let Args { file, dry_run, exit_code, prune, set_keys, reason, connect } = args;
    let refused = |problems: Vec<String>| file::refused(&file.display(), &problems);
    let wishes = file::load(&file)?;
    let present = present::load(&connect).await?;
    let items = plan::plan(&wishes, &present, Manner { prune, set_keys }).map_err(refused)?;
    let differs = items.iter().any(plan::Item::is_step);
    if dry_run {
        tell::plan(&items, out)?;
        return Ok(if exit_code && differs { Ending::Refused } else { Ending::Done });
    }
    let keys = carry_out::keys(&wishes, &items).await.map_err(refused)?;
    tell::plan(&items, out)?;
    let (numbers, callers) = (connect.numbers()?, connect.callers()?);
    let mut work = Work { wishes: &wishes, keys: &keys, reason: &reason, connect: &connect, numbers, callers };
    let mut steps = items.iter().filter(|item| item.is_step());
    while let Some(item) = steps.next() {
        let mut acts = 0;
        let Err(error) = work.carry_out(item, &mut acts).await else {
            tell::became(item, Became::Applied, out)?;
            continue;
        };
        let result = match acts {
            _ if error.is_open() => Became::Unknown,
            0 => Became::NotApplied,
            _ => Became::PartlyApplied,
        };
        tell::became(item, result, out)?;
        for item in steps {
            tell::became(item, Became::NotApplied, out)?;
        }
        return Err(error);
    }
    Ok(Ending::Done)
}
