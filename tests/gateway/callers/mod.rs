//! CallerService: who may call, by what they are known and what they may do, changed while the gateway runs.

mod acts;
mod records;
mod rights;
mod tokens;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use pilotgate::{
    config::Config,
    domain::{
        audit::Act,
        caller::{Caller, Token},
        principal::AdminRight,
        secret::TokenHash,
        sources::Sources,
    },
    proto::{
        admin::v1::{self as admin, caller_service_client::CallerServiceClient},
        v1,
    },
    server::{self, Gateway, StartError},
    store::{self, AuditQuery, Store},
};
use tonic::{Code, service::interceptor::InterceptedService, transport::Channel};

use crate::support::{Bearer, World, bearer, client_as, error_of, text};

/// The token of `chief`, who may administer everything.
const CHIEF: &str = "pgt_chief-token-for-tests";
/// The token of `clerk`, who may manage callers and nothing else.
const CLERK: &str = "pgt_clerk-token-for-tests";
/// The token of `viewer`, who may look at callers.
const VIEWER: &str = "pgt_viewer-token-for-tests";

type Callers = CallerServiceClient<InterceptedService<Channel, Bearer>>;

/// A gateway with its store, and a clock that can be put forward.
struct Place {
    world: World,
    gateway: Gateway,
    store: Arc<dyn Store>,
    ahead: Arc<AtomicI64>,
}

/// A configuration with administrators.
fn config(world: &World) -> Config {
    let mut config = world.config();
    let all: Vec<AdminRight> = AdminRight::all().collect();
    let one = |right: &str| vec![right.parse().unwrap()];
    for (name, token, admin) in
        [("chief", CHIEF, all), ("clerk", CLERK, one("callers.manage")), ("viewer", VIEWER, one("callers.view"))]
    {
        let tokens = vec![Token::of(TokenHash::of(token))];
        config.callers.push(Caller { tokens, admin, ..Caller::named(name.to_owned().try_into().unwrap()) });
    }
    config
}

impl Place {
    async fn new() -> Self {
        let world = World::new().await;
        let config = config(&world);
        Self::with(world, config).await
    }

    async fn with(world: World, config: Config) -> Self {
        Self::try_with(world, config).await.unwrap_or_else(|(error, _)| panic!("{error}"))
    }

    /// The world goes on without a gateway if it does not start.
    async fn try_with(world: World, config: Config) -> Result<Self, (StartError, World)> {
        let ahead = Arc::new(AtomicI64::new(0));
        let offset = Arc::clone(&ahead);
        let clock = move || Timestamp::now() + SignedDuration::from_secs(offset.load(Ordering::Relaxed));
        let sources = Sources::new(clock, |bytes| getrandom::fill(bytes).unwrap());
        let store = store::open(config.store.clone()).await.unwrap();
        match server::start_over(Arc::clone(&store), config, sources).await {
            Ok(gateway) => Ok(Self { world, gateway, store, ahead }),
            Err(error) => Err((error, world)),
        }
    }

    /// Ends the gateway.
    async fn down(self) -> World {
        drop(self.store);
        self.gateway.shutdown().await;
        self.world
    }

    /// Ends the gateway and starts another one over what is stored.
    async fn restarted(self) -> Self {
        let world = self.down().await;
        let config = config(&world);
        Self::with(world, config).await
    }

    async fn callers(&self, token: &str) -> Callers {
        let channel = Channel::from_shared(format!("http://{}", self.gateway.grpc())).unwrap().connect().await.unwrap();
        CallerServiceClient::with_interceptor(channel, bearer(Some(lasting(token))))
    }

    fn forward(&self, span: SignedDuration) {
        self.ahead.fetch_add(span.as_secs(), Ordering::Relaxed);
    }

    /// With which reason a call with this token is refused, if it is refused for what it shows.
    async fn refusal(&self, token: &str) -> Option<String> {
        let mut client = client_as(&self.gateway, Some(lasting(token))).await;
        match client.list_messages(v1::ListMessagesRequest::default()).await {
            Ok(_) => None,
            refused => {
                let told = error_of(refused);
                (told.code == Code::Unauthenticated).then_some(told.reason)
            }
        }
    }

    /// With which reason a send with this token is refused.
    async fn send_refusal(&self, token: &str) -> Option<String> {
        let mut client = client_as(&self.gateway, Some(lasting(token))).await;
        let sent = client.send_message(text(crate::support::READER, "hello")).await;
        sent.is_err().then(|| error_of(sent).reason)
    }

    /// What the audit log says about callers and rights, oldest first.
    async fn acts(&self) -> Vec<Act> {
        let entries = self.store.audited(AuditQuery { limit: 10_000, ..AuditQuery::default() }).await.unwrap();
        let acts = entries.iter().map(|entry| entry.act().unwrap());
        acts.filter(|act| act.action.starts_with("caller.") || act.action.starts_with("right.")).collect()
    }
}

/// Tokens of the support live for ever, and so does a made one of a test.
fn lasting(token: &str) -> &'static str {
    Box::leak(token.to_owned().into_boxed_str())
}

fn grant(number: &str, permissions: &[admin::Permission]) -> admin::Grant {
    let permissions = permissions.iter().map(|permission| (*permission).into()).collect();
    admin::Grant { number: number.to_owned(), permissions, ..Default::default() }
}

/// One who may do everything on every number.
fn create(name: &str) -> admin::CreateCallerRequest {
    use admin::Permission::{Read, Send};
    admin::CreateCallerRequest {
        name: name.to_owned(),
        grants: vec![grant("*", &[Send, Read])],
        reason: "a new service".to_owned(),
        ..Default::default()
    }
}

async fn created(callers: &mut Callers, request: admin::CreateCallerRequest) -> admin::Caller {
    callers.create_caller(request).await.unwrap().into_inner().caller.unwrap()
}

async fn issued(callers: &mut Callers, name: &str) -> admin::IssueTokenResponse {
    let request = admin::IssueTokenRequest { name: name.to_owned(), ..Default::default() };
    callers.issue_token(request).await.unwrap().into_inner()
}

async fn got(callers: &mut Callers, name: &str) -> admin::Caller {
    let request = admin::GetCallerRequest { name: name.to_owned() };
    callers.get_caller(request).await.unwrap().into_inner().caller.unwrap()
}

async fn all(callers: &mut Callers) -> Vec<admin::Caller> {
    callers.list_callers(admin::ListCallersRequest::default()).await.unwrap().into_inner().callers
}

fn update(name: &str, paths: &[&str], caller: admin::Caller) -> admin::UpdateCallerRequest {
    admin::UpdateCallerRequest {
        caller: Some(admin::Caller { name: name.to_owned(), ..caller }),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        ..Default::default()
    }
}

fn disable(name: &str, etag: &str) -> admin::DisableCallerRequest {
    admin::DisableCallerRequest { name: name.to_owned(), etag: etag.to_owned(), reason: String::new() }
}

fn delete(name: &str, etag: &str) -> admin::DeleteCallerRequest {
    admin::DeleteCallerRequest { name: name.to_owned(), etag: etag.to_owned(), reason: String::new() }
}

/// The code and the reason of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> (Code, String) {
    let told = error_of(result);
    (told.code, told.reason)
}

fn told(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}
