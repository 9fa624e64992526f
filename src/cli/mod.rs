//! The command line: the tree of commands and the way from a command to an exit status.
//!
//! Owns what the words on the command line mean. Knows the gateway only by its public contract: every client command
//! is an ordinary gRPC caller. Called by `main` alone.

pub mod apply;
pub mod audit;
pub mod backoff;
pub mod callers;
pub mod cancel;
pub mod connect;
pub mod demo;
pub mod errors;
pub mod export;
pub mod get;
pub mod inbox;
pub mod numbers;
pub mod outbox;
pub mod output;
pub mod render;
pub mod sandbox;
pub mod send;
pub mod serve;
pub mod signals;
pub mod stage;
pub mod subscriptions;
pub mod times;
pub mod token;
pub mod vault;
pub mod watch;

use std::{future::Future, process::ExitCode};

use clap::Parser;

use crate::cli::{
    errors::CliError,
    output::{Form, Output},
};

const EXIT_CODES: &str = "\
EXIT STATUS:
    0    done
    1    refused or failed
    2    the command line is wrong
    3    the message ended FAILED (send --watch, watch --until-final)
    4    the gateway cannot be reached, or it is not known whether the message was sent
    130  interrupted with Ctrl-C";

/// WhatsApp messages over gRPC: the gateway in front of Pilot Status, and a client for it
///
/// New here? `pilotgate demo` shows the whole way of a message on this machine, without an account.
#[derive(Debug, Parser)]
#[command(name = "pilotgate", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::Args),
    /// Run the gateway over a double of Pilot Status, for development
    Sandbox(sandbox::Args),
    /// Show the way of five messages on this machine
    Demo(demo::Args),
    /// Send a message
    Send(Box<send::Args>),
    /// Follow status updates
    Watch(watch::Args),
    /// Follow what comes in at the numbers
    Inbox(inbox::Args),
    /// Tell where a message stands
    Get(get::Args),
    /// Cancel scheduled messages
    Cancel(cancel::Args),
    /// Look after callers, their tokens and rights
    Callers(callers::Args),
    /// Look after the registered numbers and their keys
    Numbers(Box<numbers::Args>),
    /// Make the numbers and callers what a file says
    Apply(Box<apply::Args>),
    /// Print the numbers and callers as such a file
    Export(export::Args),
    /// Look after messages that are not decided yet
    Outbox(outbox::Args),
    /// Look after the subscriptions of all callers
    Subscriptions(subscriptions::Args),
    /// Read, check or export the audit log
    Audit(Box<audit::Args>),
    /// Look after the root key
    Vault(vault::Args),
    /// Make a caller token
    Token(token::Args),
}

/// How a command ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All that was asked for is done.
    Done,
    /// The gateway answered, but not all of it went as asked; what went wrong has been printed.
    Refused,
    /// The message that was followed ended as FAILED.
    MessageFailed,
}

impl Ending {
    fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::MessageFailed => 3,
        }
    }
}

/// Reads the command line; prints help, version or what is wrong with it, and then exits.
pub fn parse() -> Cli {
    Cli::parse()
}

/// Runs the command and prints the error it ends with, if any.
pub async fn run(cli: Cli) -> ExitCode {
    let mut out = Output::standard(cli.command.form());
    let code = match dispatch(cli.command, &mut out).await {
        Ok(ending) => ending.exit_code(),
        Err(error) => {
            // Nobody is left to be told when stderr is gone too; the exit status still says it.
            drop(out.error(&error));
            error.exit_code()
        }
    };
    ExitCode::from(code)
}

async fn dispatch(command: Command, out: &mut Output) -> Result<Ending, CliError> {
    match command {
        // These three own their signals, or end at once.
        Command::Serve(args) => serve::run(&args).await,
        Command::Sandbox(args) => sandbox::run(&args, out).await,
        Command::Token(args) => token::run(&args, out),
        Command::Demo(args) => interruptible(demo::run(&args, out)).await,
        Command::Send(args) => interruptible(send::run(*args, out)).await,
        Command::Watch(args) => interruptible(watch::run(args, out)).await,
        Command::Inbox(args) => interruptible(inbox::run(args, out)).await,
        Command::Get(args) => interruptible(get::run(args, out)).await,
        Command::Cancel(args) => interruptible(cancel::run(args, out)).await,
        Command::Callers(args) => interruptible(callers::run(args, out)).await,
        Command::Numbers(args) => interruptible(numbers::run(*args, out)).await,
        Command::Apply(args) => interruptible(apply::run(*args, out)).await,
        Command::Export(args) => interruptible(export::run(args, out)).await,
        Command::Outbox(args) => interruptible(outbox::run(args, out)).await,
        Command::Subscriptions(args) => interruptible(subscriptions::run(args, out)).await,
        Command::Audit(args) => interruptible(audit::run(*args, out)).await,
        Command::Vault(args) => interruptible(vault::run(args, out)).await,
    }
}

/// Ends `work` at Ctrl-C. Client commands keep nothing in memory across an await that a file or the gateway should
/// know, so that being dropped there loses nothing.
async fn interruptible(work: impl Future<Output = Result<Ending, CliError>>) -> Result<Ending, CliError> {
    tokio::select! {
        ending = work => ending,
        pressed = tokio::signal::ctrl_c() => Err(match pressed {
            Ok(()) => CliError::Interrupted,
            Err(error) => CliError::Local(format!("cannot listen for Ctrl-C: {error}")),
        }),
    }
}

impl Command {
    fn form(&self) -> Form {
        let json = match self {
            Self::Serve(_) | Self::Demo(_) => false,
            Self::Sandbox(args) => args.json,
            Self::Token(args) => args.json,
            Self::Send(args) => args.connect.json,
            Self::Watch(args) => args.follow.connect.json,
            Self::Inbox(args) => args.follow.connect.json,
            Self::Get(args) => args.connect.json,
            Self::Cancel(args) => args.connect.json,
            Self::Callers(args) => args.is_json(),
            Self::Numbers(args) => args.is_json(),
            Self::Apply(args) => args.connect.json,
            Self::Export(args) => args.connect.json,
            Self::Outbox(args) => args.is_json(),
            Self::Subscriptions(args) => args.is_json(),
            Self::Audit(args) => args.is_json(),
            Self::Vault(args) => args.is_json(),
        };
        if json { Form::Json } else { Form::Human }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_tree_is_sound_and_every_command_has_examples() {
        let mut tree = Cli::command();
        tree.build();
        tree.clone().debug_assert();
        let without: Vec<_> = tree
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
            .filter(|command| !command.get_after_help().is_some_and(|it| it.to_string().contains("EXAMPLES")))
            .map(|command| command.get_name().to_owned())
            .collect();
        assert_eq!(without, Vec::<String>::new());
    }
}
