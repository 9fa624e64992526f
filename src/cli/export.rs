//! `pilotgate export`: the stored numbers and callers as a file for `pilotgate apply`.
//!
//! No secret is in it, since none comes out of the gateway. Called by the command tree.

use crate::{
    cli::{
        Ending,
        apply::{
            forms::{Field, caller_fields, grant_parts, number_fields, present_caller, present_number, quoted},
            present,
        },
        connect::ConnectArgs,
        errors::CliError,
        output::{Form, Output},
    },
    proto::admin::v1::{Caller, CallerState, Number, NumberState},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate export > gateway.toml
    pilotgate export | pilotgate apply -f - --dry-run --exit-code";

/// From which gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(serde::Serialize)]
struct Exported {
    toml: String,
}

/// Prints it; with --json as the one text of an object.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let present = present::load(&args.connect).await?;
    let unreadable = present.numbers.iter().filter(|number| number.state() == NumberState::Unreadable);
    let unreadable: Vec<_> = unreadable.map(|number| format!("number {:?}", number.name)).collect();
    let broken = present.callers.iter().filter(|caller| caller.state() == CallerState::Unreadable);
    let broken = broken.map(|caller| format!("caller {:?}", caller.name));
    for who in unreadable.into_iter().chain(broken) {
        out.note(&format!("{who} is left out: the gateway cannot read its record"));
    }
    let toml = toml(&present.numbers, &present.callers);
    match out.form() {
        Form::Json => out.json(&Exported { toml })?,
        Form::Human => out.line(toml.trim_end())?,
    }
    Ok(Ending::Done)
}

/// The file, without what the configuration declares and what cannot be read.
pub(super) fn toml(numbers: &[Number], callers: &[Caller]) -> String {
    let mut lines = vec!["# Numbers and callers, for pilotgate apply.".to_owned()];
    for number in numbers.iter().filter(|it| !it.declared && it.state() != NumberState::Unreadable) {
        lines.extend([String::new(), "[[numbers]]".to_owned(), format!("name = {}", quoted(&number.name))]);
        lines.extend(entries(number_fields(&present_number(number))));
        lines.push("# key = { file = \"PATH\" }".to_owned());
    }
    for caller in callers.iter().filter(|it| !it.declared && it.state() != CallerState::Unreadable) {
        let caller = present_caller(caller);
        lines.extend([String::new(), "[[callers]]".to_owned(), format!("name = {}", quoted(&caller.name))]);
        lines.extend(entries(caller_fields(&Caller { grants: Vec::new(), ..caller.clone() })));
        for grant in &caller.grants {
            lines.push("[[callers.grants]]".to_owned());
            lines.extend(grant_parts(grant));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn entries(fields: Vec<Field>) -> impl Iterator<Item = String> {
    let told = fields.into_iter().filter(|field| !field.value.is_empty());
    told.map(|field| format!("{} = {}", field.name, field.value))
}
