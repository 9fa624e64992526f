//! `pilotgate callers`: who may call, by what they are known and what they may do.
//!
//! Called by the command tree.

mod args;
mod tell;

use self::{
    args::{Act, Issue, Revoke, Rotate},
    tell::{tell, tell_token},
};
pub use args::Args;

use crate::{
    cli::{
        Ending,
        connect::{ConnectArgs, Connection},
        errors::CliError,
        output::Output,
        times,
    },
    proto::admin::v1::{
        Caller, CreateCallerRequest, DeleteCallerRequest, DisableCallerRequest, EnableCallerRequest, GetCallerRequest,
        IssueTokenRequest, ListCallersRequest, Quota, RevokeTokenRequest, RotateTokenRequest, SetGrantsRequest,
        UpdateCallerRequest, caller_service_client::CallerServiceClient,
    },
};

/// Does it and prints what came of it.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    match args.act {
        Act::List(args::List { connect }) => list(&connect, out).await?,
        Act::Get(args::Get { name, connect }) => {
            let call = connect.request(GetCallerRequest { name });
            told(connect.callers()?.get_caller(call).await?.into_inner().caller, out)?;
        }
        Act::Create(create) => {
            let connect = create.connect;
            let call = connect.request(CreateCallerRequest {
                name: create.name,
                description: create.description,
                identities: create.identities,
                grants: create.grants,
                admin_rights: create.admin_rights,
                quota: Some(Quota { per_minute: create.per_minute, per_day: create.per_day }),
                reason: create.reason,
            });
            told(connect.callers()?.create_caller(call).await?.into_inner().caller, out)?;
        }
        Act::Update(update) => self::update(*update, out).await?,
        Act::Disable(args::One { name, etag, reason, connect }) => {
            let call = connect.request(DisableCallerRequest { name, etag, reason });
            told(connect.callers()?.disable_caller(call).await?.into_inner().caller, out)?;
        }
        Act::Enable(args::One { name, etag, reason, connect }) => {
            let call = connect.request(EnableCallerRequest { name, etag, reason });
            told(connect.callers()?.enable_caller(call).await?.into_inner().caller, out)?;
        }
        Act::Delete(args::One { name, etag, reason, connect }) => {
            let call = connect.request(DeleteCallerRequest { name, etag, reason });
            connect.callers()?.delete_caller(call).await?;
        }
        Act::IssueToken(Issue { lifetime, one: args::One { name, etag, reason, connect } }) => {
            let lifetime = lifetime.map(times::to_proto_span);
            let call = connect.request(IssueTokenRequest { name, lifetime, etag, reason });
            let answer = connect.callers()?.issue_token(call).await?.into_inner();
            tell_token(&answer.token, &answer.token_id, &answer.caller.unwrap_or_default(), out)?;
        }
        Act::RotateToken(Rotate { token_id, grace, at_once, lifetime, one }) => {
            let args::One { name, etag, reason, connect } = one;
            let grace = if at_once { Some(prost_types::Duration::default()) } else { grace.map(times::to_proto_span) };
            let lifetime = lifetime.map(times::to_proto_span);
            let call = connect.request(RotateTokenRequest { name, token_id, grace, lifetime, etag, reason });
            let answer = connect.callers()?.rotate_token(call).await?.into_inner();
            tell_token(&answer.token, &answer.token_id, &answer.caller.unwrap_or_default(), out)?;
        }
        Act::RevokeToken(Revoke { token_id, one: args::One { name, etag, reason, connect } }) => {
            let call = connect.request(RevokeTokenRequest { name, token_id, etag, reason });
            told(connect.callers()?.revoke_token(call).await?.into_inner().caller, out)?;
        }
        Act::Grant(args::SetAll { grants, one: args::One { name, etag, reason, connect }, .. }) => {
            let call = connect.request(SetGrantsRequest { name, grants, etag, reason });
            told(connect.callers()?.set_grants(call).await?.into_inner().caller, out)?;
        }
    }
    Ok(Ending::Done)
}

async fn list(connect: &ConnectArgs, out: &mut Output) -> Result<(), CliError> {
    let mut asked = ListCallersRequest::default();
    let mut client: CallerServiceClient<Connection> = connect.callers()?;
    loop {
        let page = client.list_callers(connect.request(asked.clone())).await?.into_inner();
        for caller in &page.callers {
            tell(caller, out)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        asked.page_token = page.next_page_token;
    }
}

async fn update(update: args::Update, out: &mut Output) -> Result<(), CliError> {
    let connect = update.connect;
    let (quota, rights, identities) = (update.quota, update.admin_rights, update.identities);
    let asked = [
        ("description", update.description.is_some()),
        ("identities", update.no_identities || !identities.is_empty()),
        ("admin_rights", update.no_admin || !rights.is_empty()),
        ("quota", update.no_quota || quota.per_minute.is_some() || quota.per_day.is_some()),
    ];
    let paths = asked.into_iter().filter(|(_, asked)| *asked).map(|(field, _)| field.to_owned()).collect();
    let caller = Caller {
        name: update.name,
        description: update.description.unwrap_or_default(),
        identities,
        admin_rights: rights,
        quota: Some(Quota { per_minute: quota.per_minute, per_day: quota.per_day }),
        ..Caller::default()
    };
    let call = connect.request(UpdateCallerRequest {
        caller: Some(caller),
        update_mask: Some(prost_types::FieldMask { paths }),
        etag: update.etag,
        reason: update.reason,
    });
    told(connect.callers()?.update_caller(call).await?.into_inner().caller, out)
}

fn told(caller: Option<Caller>, out: &mut Output) -> Result<(), CliError> {
    tell(&caller.unwrap_or_default(), out)
}
