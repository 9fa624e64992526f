//! `pilotgate numbers`: the registered numbers and their keys.
//!
//! Keys are read from a file or from standard input, never from the command line, which other users of the machine can see.
//! Called by the command tree.

mod args;
mod secret;
mod tell;

use prost_types::FieldMask;

pub use self::args::Args;
use self::{
    args::{Act, Key, List, Named, Register, Update},
    tell::Stands,
};
use crate::{
    cli::{Ending, connect::ConnectArgs, errors::CliError, output::Output},
    proto::admin::v1::{
        CheckNumberRequest, DeleteNumberRequest, DisableNumberRequest, EnableNumberRequest, Finding, GetNumberRequest,
        ImportNumbersRequest, ImportResult, ListNumbersRequest, Number, NumberSettings, RegisterNumberRequest,
        RotateNumberKeyRequest, SetNumberKeyRequest, SetTenantKeyRequest, UpdateNumberRequest,
    },
};

/// Does it and prints what came of it.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    match args.act {
        Act::List(list) => self::list(list, out).await,
        Act::Get { name, connect } => {
            let call = connect.request(GetNumberRequest { name });
            tell(connect.numbers()?.get_number(call).await?.into_inner().number, out)
        }
        Act::Register(register) => self::register(*register, out).await,
        Act::Update(update) => self::update(*update, out).await,
        Act::Import(import) => self::import(import, out).await,
        Act::Check { name, connect } => check(name, &connect, out).await,
        Act::Disable(Named { name, etag, reason, connect }) => {
            let call = connect.request(DisableNumberRequest { name, etag, reason });
            tell(connect.numbers()?.disable_number(call).await?.into_inner().number, out)
        }
        Act::Enable(Named { name, etag, reason, connect }) => {
            let call = connect.request(EnableNumberRequest { name, etag, reason });
            tell(connect.numbers()?.enable_number(call).await?.into_inner().number, out)
        }
        Act::Delete { number: Named { name, etag, reason, connect }, force } => {
            let call = connect.request(DeleteNumberRequest { name, etag, force, reason });
            connect.numbers()?.delete_number(call).await?;
            Ok(Ending::Done)
        }
        Act::SetKey { number: Named { name, etag, reason, connect }, key: Key { key_file }, check } => {
            let key = secret::read(key_file.as_deref(), "the number's key")?;
            let call = connect.request(SetNumberKeyRequest { name, key, check, etag, reason });
            tell(connect.numbers()?.set_number_key(call).await?.into_inner().number, out)
        }
        Act::Rotate(Named { name, etag, reason, connect }) => {
            let call = connect.request(RotateNumberKeyRequest { name, etag, reason });
            tell(connect.numbers()?.rotate_number_key(call).await?.into_inner().number, out)
        }
        Act::TenantKey { key: Key { key_file }, forget, reason, connect } => {
            let key = if forget { String::new() } else { secret::read(key_file.as_deref(), "the account-wide key")? };
            let call = connect.request(SetTenantKeyRequest { key, etag: String::new(), reason });
            connect.numbers()?.set_tenant_key(call).await?;
            Ok(Ending::Done)
        }
    }
}

fn tell(number: Option<Number>, out: &mut Output) -> Result<Ending, CliError> {
    Stands::of(&number.unwrap_or_default()).print(out)?;
    Ok(Ending::Done)
}

async fn list(list: List, out: &mut Output) -> Result<Ending, CliError> {
    let mut asked = ListNumbersRequest::default();
    let mut client = list.connect.numbers()?;
    loop {
        let page = client.list_numbers(list.connect.request(asked.clone())).await?.into_inner();
        for number in &page.numbers {
            Stands::of(number).print(out)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(Ending::Done);
        }
        asked.page_token = page.next_page_token;
    }
}

async fn register(register: Register, out: &mut Output) -> Result<Ending, CliError> {
    let Register { name, key, settings, disabled, check, reason, connect } = register;
    let key = secret::read(key.key_file.as_deref(), "the number's key")?;
    let (settings, _) = settings.into_proto(name)?;
    let request = RegisterNumberRequest {
        name: settings.name,
        key,
        description: settings.description,
        upstream_id: settings.upstream_id,
        phone_number: settings.phone_number,
        rotate_interval: settings.rotate_interval,
        pace: settings.pace,
        quota: settings.quota,
        read_back: settings.read_back,
        webhook: settings.webhook,
        disabled,
        check,
        reason,
    };
    let call = connect.request(request);
    tell(connect.numbers()?.register_number(call).await?.into_inner().number, out)
}

async fn update(update: Update, out: &mut Output) -> Result<Ending, CliError> {
    let Update { number: Named { name, etag, reason, connect }, settings, clear } = update;
    let (settings, mut paths): (NumberSettings, Vec<String>) = settings.into_proto(name)?;
    paths.extend(clear);
    if paths.is_empty() {
        return Err(CliError::Usage("nothing to change was given".to_owned()));
    }
    let update_mask = Some(FieldMask { paths });
    let call = connect.request(UpdateNumberRequest { number: Some(settings), update_mask, etag, reason });
    tell(connect.numbers()?.update_number(call).await?.into_inner().number, out)
}

async fn import(import: args::Import, out: &mut Output) -> Result<Ending, CliError> {
    let args::Import { tenant_key_file, dry_run, name_prefix, disabled, upstream_ids, reason, connect } = import;
    let given = tenant_key_file.map(|file| secret::read(Some(&file), "the account-wide key")).transpose()?;
    let tenant_key = given.unwrap_or_default();
    let request = ImportNumbersRequest { tenant_key, dry_run, name_prefix, disabled, upstream_ids, reason };
    let answer = connect.numbers()?.import_numbers(connect.request(request)).await?.into_inner();
    for number in &answer.numbers {
        tell::imported(number, out)?;
    }
    let failed = answer.numbers.iter().any(|number| number.result() == ImportResult::Invalid);
    Ok(if failed { Ending::Refused } else { Ending::Done })
}

/// The exit status tells whether anything was found to be wrong.
async fn check(name: String, connect: &ConnectArgs, out: &mut Output) -> Result<Ending, CliError> {
    let call = connect.request(CheckNumberRequest { name });
    let answer = connect.numbers()?.check_number(call).await?.into_inner();
    tell::checked(&answer, out)?;
    let asked = [answer.key_accepted(), answer.connected(), answer.sendable(), answer.paid()];
    Ok(if asked.contains(&Finding::No) { Ending::Refused } else { Ending::Done })
}
