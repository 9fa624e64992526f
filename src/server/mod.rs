//! The running gateway: its parts put together, its ports, its orderly end.
//!
//! No globals: two gateways can live in one process. Called by `cli` and by tests.

mod grpc;
mod http;
mod incoming;
pub mod logging;
mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{grpc::Services, tls::Tls};
use crate::{
    admin::{
        Admin, AdminError,
        vault::{Custody, OpenVaultError},
    },
    api::{
        AuditApi, CallerApi, InboxApi, MessagingApi, NumberApi, OutboxApi, Responses, SubscriptionApi, VaultApi,
        authenticate::AuthenticateLayer, ready::Ready,
    },
    config::{self, Config},
    domain::sources::Sources,
    fanout::Fanout,
    http as door,
    identity::{Identity, jwt::Issuers},
    keys::KeyRing,
    messaging::Messaging,
    proto::{
        admin::v1::{
            audit_service_server::AuditServiceServer, caller_service_server::CallerServiceServer,
            number_service_server::NumberServiceServer, outbox_service_server::OutboxServiceServer,
            subscription_service_server::SubscriptionServiceServer, vault_service_server::VaultServiceServer,
        },
        v1::{inbox_service_server::InboxServiceServer, messaging_service_server::MessagingServiceServer},
    },
    store::{self, Store, StoreError, Written, retention},
    tracking::{Pulses, Reader, ReconcileCounts, Reconciler, Tracking, Verdicts, registration::Registration},
    upstream::Upstream,
};

/// By now every send is settled; whoever does not take its answers and close within this time is not waited for.
const FAREWELL: Duration = Duration::from_secs(5);

/// A gateway that answers.
pub struct Gateway {
    grpc: SocketAddr,
    admin: SocketAddr,
    http: SocketAddr,
    identity: Arc<Identity>,
    store: Arc<dyn Store>,
    administration: Admin,
    messaging: Messaging,
    tracking: Tracking,
    /// The gRPC ports.
    told: Vec<grpc::Told>,
    draining: CancellationToken,
    closing: CancellationToken,
    keys: Arc<KeyRing>,
    registration: Registration,
    reconciler: Reconciler,
    /// What goes on by itself, by name, until the gateway drains.
    background: Vec<(&'static str, AbortOnDropHandle<()>)>,
    ports: JoinSet<Result<(), String>>,
    deadline: Duration,
}

/// A gRPC port, and its TLS.
type Carrier = (TcpListener, Option<Arc<Tls>>);

/// All ports, open, and the keys by which others vouch for who calls there.
struct Ports {
    issuers: Issuers,
    grpc: Carrier,
    /// `None`: administrators call where callers do.
    admin: Option<Carrier>,
    http: TcpListener,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The store did not answer.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The vault did not open.
    #[error(transparent)]
    Vault(#[from] OpenVaultError),
    /// What is registered in the store does not go with the configuration.
    #[error(transparent)]
    Registered(#[from] AdminError),
    /// The HTTP client could not be built.
    #[error("cannot prepare calls to pilot status: {0}")]
    Upstream(String),
    /// A port has no usable TLS.
    #[error("{section}.tls.{error}")]
    Tls {
        /// Which port.
        section: &'static str,
        /// Why not.
        error: String,
    },
    /// The keys of an issuer of tokens cannot be read.
    #[error("{0}")]
    Issuer(String),
    /// A port could not be opened.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
}

/// Starts a gateway. It answers when this returns.
pub async fn start(config: Config, sources: Sources) -> Result<Gateway, StartError> {
    // Ports first: a process that cannot listen leaves the store alone.
    let ports = Ports::open(&config).await?;
    let store = store::open(config.store.clone()).await?;
    Box::pin(serve(ports, store, config, sources)).await
}

/// Starts a gateway over a store that is open already, for whoever puts something between the two. It answers when this
/// returns.
pub async fn start_over(store: Arc<dyn Store>, config: Config, sources: Sources) -> Result<Gateway, StartError> {
    let ports = Ports::open(&config).await?;
    Box::pin(serve(ports, store, config, sources)).await
}

async fn serve(ports: Ports, store: Arc<dyn Store>, config: Config, sources: Sources) -> Result<Gateway, StartError> {
    let (grpc, http) = (address(&ports.grpc.0, config.grpc.listen)?, address(&ports.http, config.http_listen)?);
    let admin = ports.admin.as_ref().map_or(Ok(grpc), |port| address(&port.0, grpc))?;
    let Ports { grpc: grpc_listener, admin: admin_listener, http: http_listener, issuers } = ports;
    let directory = config.store.directory;
    let upstream = Upstream::open(&config.upstream).map_err(StartError::Upstream)?;
    let keys = Arc::new(KeyRing::of(config.numbers, config.tenant_key));
    let issuers = Arc::new(issuers);
    let identity = Identity::of(config.callers).by(sources.clone()).believing(Arc::clone(&issuers));
    let identity = Arc::new(identity);
    let draining = CancellationToken::new();
    let closing = CancellationToken::new();

    let custody = match Custody::open(Arc::clone(&store), config.vault, &directory, sources.clone()).await {
        Ok(custody) => custody,
        Err(error) => {
            // Its thread would go on for a while and keep the next start from opening it.
            store.close().await;
            return Err(error.into());
        }
    };
    let vault = custody.vault().clone();
    let administration = Admin::new(
        Arc::clone(&store),
        vault.clone(),
        Arc::clone(&keys),
        Arc::clone(&identity),
        upstream.clone(),
        config.public_url,
        sources.clone(),
    );
    let loaded = match administration.load_numbers().await {
        Ok(()) => administration.load_callers().await,
        Err(error) => Err(error),
    };
    if let Err(error) = loaded {
        store.close().await;
        return Err(error.into());
    }
    let messaging = Messaging::new(
        Arc::clone(&store),
        upstream.clone(),
        Arc::clone(&keys),
        vault.clone(),
        sources.clone(),
        config.messaging,
        draining.clone(),
    );
    let recovered = messaging.recover().await?;
    if recovered > 0 {
        tracing::warn!(recovered, "an earlier process ended in the middle of sends; they are in doubt now");
    }
    messaging.run_queue();
    let pulses = Pulses::default();
    let reader = Reader::new(Arc::clone(&store), upstream.clone(), Arc::clone(&keys), vault.clone(), sources.clone());
    let reconciler = Reconciler::new(reader.clone(), pulses.clone(), config.tracking.read_back, config.reconcile);
    let tracking =
        Tracking::new(Arc::clone(&store), Arc::clone(&keys), vault, sources.clone(), config.tracking, pulses);
    let registration =
        Registration::new(tracking.clone(), upstream, Arc::clone(&keys), sources.clone(), config.registration);
    let fanout =
        Fanout::spawn(Arc::clone(&store), Arc::new(Responses), sources.clone(), config.streams, draining.clone());
    let following = fanout.clone();
    let in_use = move |age| following.in_use(age);
    let trimming = retention::run(Arc::clone(&store), sources.clone(), config.retention, in_use, draining.clone());
    let inbox = InboxApi::new(fanout.clone(), Arc::clone(&identity), Arc::clone(&keys), sources.clone());
    let outbox = OutboxApi::new(administration.clone(), messaging.clone());
    let subscriptions = SubscriptionApi::new(administration.clone(), fanout.clone());
    let vault_api = VaultApi::new(administration.clone(), custody.clone());
    let callers_api = CallerApi::new(administration.clone(), config.token_lifetime);
    let numbers = NumberApi::new(administration.clone());
    let api = MessagingApi::new(
        messaging.clone(),
        reader,
        fanout,
        Arc::clone(&identity),
        Arc::clone(&keys),
        sources.clone(),
        config.grpc.bulk,
        draining.clone(),
    );

    let longest = config.grpc.max_message_bytes;
    let authenticate = AuthenticateLayer::new(Arc::clone(&identity), sources.clone());
    let callers = Services::behind(authenticate.clone())
        .with(Ready(MessagingServiceServer::new(api).max_decoding_message_size(longest)))
        .with(Ready(InboxServiceServer::new(inbox).max_decoding_message_size(longest)));
    let administrators = Services::behind(authenticate)
        .with(AuditServiceServer::new(AuditApi::new(administration.clone())))
        .with(OutboxServiceServer::new(outbox))
        .with(SubscriptionServiceServer::new(subscriptions))
        .with(VaultServiceServer::new(vault_api))
        .with(CallerServiceServer::new(callers_api).max_decoding_message_size(longest))
        .with(NumberServiceServer::new(numbers).max_decoding_message_size(longest));
    let served = match admin_listener.zip(config.admin) {
        None => vec![(grpc_listener, config.grpc, callers.and(administrators))],
        Some((listener, options)) => {
            vec![(grpc_listener, config.grpc, callers), (listener, options, administrators)]
        }
    };
    let (mut ports, mut told) = (JoinSet::new(), Vec::new());
    for (listener, options, services) in served {
        let (health, port) = grpc::open(listener, options, services, draining.clone()).await;
        told.push(health);
        ports.spawn(port);
    }
    let routes = door::router(tracking.clone(), store.head(), draining.clone(), &config.http);
    ports.spawn(self::http::serve(http_listener, routes, closing.clone()));
    tracing::info!(%grpc, %admin, %http, "serving");
    // Registration not before the port takes what it asks for.
    let (following, ending) = (issuers, draining.clone());
    let background = [
        ("reading the keys of issuers", tokio::spawn(async move { following.run(ending).await })),
        ("trimming", tokio::spawn(trimming)),
        ("ending what goes by credentials that end", tokio::spawn(Arc::clone(&identity).run_ends(draining.clone()))),
        ("telling what is unattributed", tokio::spawn(tracking.clone().run_unattributed(draining.clone()))),
        ("reading back", tokio::spawn(reconciler.clone().run(draining.clone()))),
        ("changing keys", tokio::spawn(administration.clone().run_rotations(draining.clone()))),
        ("making checkpoints of the audit log", tokio::spawn(administration.clone().run_checkpoints(draining.clone()))),
        ("sealing anew", tokio::spawn(custody.run_resealing(draining.clone()))),
        ("looking after the webhooks", tokio::spawn(registration.clone().run(draining.clone()))),
    ];
    let background = background.map(|(name, task)| (name, AbortOnDropHandle::new(task))).into();
    let deadline = config.shutdown_deadline;
    Ok(Gateway {
        grpc,
        admin,
        http,
        identity,
        store,
        administration,
        messaging,
        tracking,
        told,
        draining,
        closing,
        keys,
        registration,
        reconciler,
        background,
        ports,
        deadline,
    })
}

impl Ports {
    async fn open(config: &Config) -> Result<Self, StartError> {
        let tls = open_tls("grpc", config.grpc.tls.as_ref()).await?;
        let admin = match &config.admin {
            Some(port) if port.tls == config.grpc.tls => Some((listen(port.listen).await?, tls.clone())),
            Some(port) => Some((listen(port.listen).await?, open_tls("admin", port.tls.as_ref()).await?)),
            None => None,
        };
        let (grpc, http) = (listen(config.grpc.listen).await?, listen(config.http_listen).await?);
        let issuers = Issuers::open(config.jwt.clone()).await.map_err(StartError::Issuer)?;
        Ok(Self { grpc: (grpc, tls), admin, http, issuers })
    }
}

impl Gateway {
    /// Where callers connect.
    pub const fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where administrators connect.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where webhooks come in.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// The registered numbers.
    pub const fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// What the platform team does, for whoever runs in the same process.
    pub const fn administration(&self) -> &Admin {
        &self.administration
    }

    /// How much has been written to the store.
    pub fn written(&self) -> Written {
        self.store.written()
    }

    /// The callers.
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// What became of everything that came in by webhook.
    pub fn verdicts(&self) -> Verdicts {
        self.tracking.verdicts()
    }

    /// How the webhooks stand that the gateway registers.
    pub const fn registration(&self) -> &Registration {
        &self.registration
    }

    /// What reading messages back has done.
    pub fn reconciled(&self) -> ReconcileCounts {
        self.reconciler.counts()
    }

    /// Waits until a port or the store ends by itself, which none should.
    pub async fn failed(&mut self) -> String {
        let mut head = self.store.head();
        let store_ended = async { while head.changed().await.is_ok() {} };
        tokio::select! {
            () = store_ended => "the store ended".to_owned(),
            port = self.ports.join_next() => match port {
                Some(Ok(Err(error))) => error,
                Some(Err(error)) => error.to_string(),
                Some(Ok(Ok(()))) | None => "a port closed".to_owned(),
            },
        }
    }

    /// Ends in order: not ready, streams drained, calls in flight finished, the store flushed. What is not done within
    /// the configured deadline is broken off; what was acknowledged is on disk either way.
    pub async fn shutdown(mut self) {
        let store = Arc::clone(&self.store);
        if timeout(self.deadline, self.drain()).await.is_err() {
            tracing::warn!("the deadline for an orderly end has passed; breaking off what still runs");
            self.ports.abort_all();
            self.background.clear();
        }
        // Never skipped: it only states what was done, and flushes what is queued.
        let closing = async {
            self.administration.last_checkpoint().await;
            store.close().await;
        };
        if timeout(Duration::from_secs(5), closing).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
    }

    async fn drain(&mut self) {
        for port in &self.told {
            port.not_serving().await;
        }
        self.draining.cancel();
        self.messaging.finish().await;
        for (what, task) in &mut self.background {
            if let Err(error) = task.await {
                tracing::warn!(%error, "{what} did not end well");
            }
        }
        // The gRPC ports end by themselves now. The HTTP port goes on until then: webhooks and probes still come.
        let grpc_ended = timeout(FAREWELL, async {
            for _ in 0..self.told.len() {
                self.port_ended().await;
            }
        });
        let grpc_ended = grpc_ended.await.is_ok();
        self.closing.cancel();
        let http_ended = grpc_ended && timeout(FAREWELL, self.port_ended()).await.is_ok();
        if !http_ended {
            tracing::info!("some connections did not answer the farewell; closing them");
            self.ports.abort_all();
        }
        tracing::info!("ended in order");
    }

    /// Waits until one more port has ended.
    async fn port_ended(&mut self) {
        if let Some(Ok(Err(error))) = self.ports.join_next().await {
            tracing::warn!(%error, "a port did not end well");
        }
    }
}

async fn open_tls(section: &'static str, files: Option<&config::Tls>) -> Result<Option<Arc<Tls>>, StartError> {
    let Some(files) = files else { return Ok(None) };
    Tls::open(files.clone()).await.map(Some).map_err(|error| StartError::Tls { section, error })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { address, error })
}

fn address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Listen { address: asked, error })
}
