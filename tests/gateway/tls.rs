//! TLS on the gRPC port: certificates of clients, and certificates that are replaced.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pilotgate::{
    config::{
        self, ClientAuth, Config,
        settings::{Span, TlsSettings},
    },
    proto::v1::{self, messaging_service_client::MessagingServiceClient},
    server::{self, Gateway},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::support::{NUMBER, READER, TOKEN, World, error_of, sends, text};

const HOST: &str = "gateway.test";

/// Who vouches for certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Pair {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, names: Vec<SanType>, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    fn for_host(&self) -> Pair {
        self.issue(vec![dns(HOST), dns("localhost")], |_| {})
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

/// Writes the gateway's files into the folder.
fn lay(folder: &Path, pair: &Pair, authority: &Authority) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in [("tls.crt", &pair.cert), ("tls.key", &pair.key), ("ca.crt", &authority.0.pem())] {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn secured(world: &World, folder: &Path, client_auth: ClientAuth) -> Config {
    let mut settings = world.settings();
    settings.grpc.tls = Some(TlsSettings {
        cert: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        client_ca: (client_auth != ClientAuth::None).then(|| folder.join("ca.crt")),
        client_auth: Some(client_auth),
        check_interval: Some(Span(Duration::from_millis(10))),
    });
    config::check_in_memory(settings).unwrap()
}

fn endpoint(gateway: &Gateway, authority: &Authority, shows: Option<&Pair>) -> Endpoint {
    let tls = ClientTlsConfig::new().domain_name(HOST).ca_certificate(Certificate::from_pem(authority.0.pem()));
    let tls = match shows {
        Some(Pair { cert, key }) => tls.identity(Identity::from_pem(cert, key)),
        None => tls,
    };
    Channel::from_shared(format!("https://{}", gateway.grpc())).unwrap().tls_config(tls).unwrap()
}

/// Sends a text over a connection of its own.
async fn send(endpoint: &Endpoint, token: Option<&str>) -> Result<v1::SendMessageResponse, Status> {
    let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
    send_over(channel, token).await
}

async fn send_over(channel: Channel, token: Option<&str>) -> Result<v1::SendMessageResponse, Status> {
    let mut request = Request::new(text(READER, "over tls"));
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    MessagingServiceClient::new(channel).send_message(request).await.map(tonic::Response::into_inner)
}

/// The certificate that a new connection is shown.
async fn shown(gateway: &Gateway, authority: &Authority) -> CertificateDer<'static> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.0.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect(gateway.grpc()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from(HOST).unwrap(), socket).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn a_certificate_stands_for_the_caller_that_is_known_by_a_name_in_it() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.directory.path().join("tls"));
    lay(&folder, &authority.for_host(), &authority);
    let mut config = secured(&world, &folder, ClientAuth::Required);
    config.callers[0].identities = vec!["mtls:spiffe://example.org/orders".to_owned()];
    config.callers[2].identities = vec!["mtls:dns:auditor.example.org".to_owned()];
    let gateway = world.gateway_with(config).await;
    let shows = |names: Vec<SanType>| endpoint(&gateway, &authority, Some(&authority.issue(names, |_| {})));

    let orders = shows(vec![uri("spiffe://example.org/orders")]);
    assert!(send(&orders, None).await.is_ok());
    // The auditor is known, and may not send.
    let auditor = shows(vec![dns("other.example.org"), dns("Auditor.example.org")]);
    assert_eq!(error_of(send(&auditor, None).await).reason, "NUMBER_NOT_GRANTED");
    let strangers = [
        (vec![uri("spiffe://example.org/orders/other")], "CREDENTIAL_INVALID"),
        (vec![dns("orders.example.org"), dns("*.example.org")], "CREDENTIAL_INVALID"),
        // These name nobody. Of several URIs none is a SPIFFE id.
        (vec![uri("https://example.org/orders")], "CREDENTIAL_MISSING"),
        (vec![uri("spiffe://example.org/orders"), uri("spiffe://example.org/admin")], "CREDENTIAL_MISSING"),
        (vec![], "CREDENTIAL_MISSING"),
    ];
    for (names, expected) in strangers {
        let error = error_of(send(&shows(names.clone()), None).await);
        assert_eq!((error.code, error.reason.as_str()), (Code::Unauthenticated, expected), "{names:?}");
    }
    // A token comes first, right or wrong.
    assert!(send(&auditor, Some(TOKEN)).await.is_ok());
    assert_eq!(error_of(send(&orders, Some("pgt_wrong-token-for-tests")).await).reason, "CREDENTIAL_INVALID");
    assert_eq!(sends(&world).len(), 2);
    world.end((), gateway).await;
}

#[tokio::test]
async fn without_a_good_certificate_there_is_no_connection_where_one_is_required() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.directory.path().join("tls"));
    lay(&folder, &authority.for_host(), &authority);
    let gateway = world.gateway_with(secured(&world, &folder, ClientAuth::Required)).await;
    let past = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    };
    let bad = [
        None,
        Some(Authority::new().issue(vec![dns("orders.example.org")], |_| {})),
        Some(authority.issue(vec![dns("orders.example.org")], past)),
    ];
    for shows in bad {
        let status = send(&endpoint(&gateway, &authority, shows.as_ref()), Some(TOKEN)).await.unwrap_err();
        assert!(status.details().is_empty(), "the gateway itself answered: {status:?}");
    }
    // Nor in the clear.
    let clear = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap();
    let status = send(&clear, Some(TOKEN)).await.unwrap_err();
    assert!(status.details().is_empty(), "the gateway itself answered: {status:?}");
    assert_eq!(sends(&world).len(), 0);

    let good = authority.issue(vec![dns("orders.example.org")], |_| {});
    assert!(send(&endpoint(&gateway, &authority, Some(&good)), Some(TOKEN)).await.is_ok());
    world.end((), gateway).await;
}

#[tokio::test]
async fn a_certificate_may_be_optional() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.directory.path().join("tls"));
    lay(&folder, &authority.for_host(), &authority);
    let mut config = secured(&world, &folder, ClientAuth::Optional);
    config.callers[0].identities = vec!["mtls:dns:orders.example.org".to_owned()];
    let gateway = world.gateway_with(config).await;
    let without = endpoint(&gateway, &authority, None);
    assert!(send(&without, Some(TOKEN)).await.is_ok());
    assert_eq!(error_of(send(&without, None).await).reason, "CREDENTIAL_MISSING");
    let orders = authority.issue(vec![dns("orders.example.org")], |_| {});
    assert!(send(&endpoint(&gateway, &authority, Some(&orders)), None).await.is_ok());
    let forged = Authority::new().issue(vec![dns("orders.example.org")], |_| {});
    let status = send(&endpoint(&gateway, &authority, Some(&forged)), None).await.unwrap_err();
    assert!(status.details().is_empty(), "the gateway itself answered: {status:?}");
    world.end((), gateway).await;
}

#[tokio::test]
async fn administrators_are_shown_the_callers_certificate_unless_there_is_another() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.directory.path().join("tls"));
    lay(&folder, &authority.for_host(), &authority);
    let mut settings = world.settings();
    settings.admin.listen = "0.0.0.0:0".to_owned();
    let tls = |folder: &Path| TlsSettings {
        cert: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        client_ca: None,
        client_auth: None,
        check_interval: None,
    };
    settings.grpc.tls = Some(tls(&folder));
    let admin = config::check_in_memory(settings.clone()).unwrap().admin.unwrap();
    assert_eq!(admin.tls.unwrap().cert, folder.join("tls.crt"));
    settings.admin.tls = Some(tls(Path::new("/elsewhere")));
    let config = config::check_in_memory(settings).unwrap();
    let refused = server::start(config, pilotgate::domain::sources::Sources::system()).await.err().unwrap().to_string();
    assert!(refused.starts_with("admin.tls.key: cannot read /elsewhere/tls.key: "), "{refused}");
    world.double.shutdown().await;
}

#[tokio::test]
async fn whoever_says_nothing_blocks_nobody() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.directory.path().join("tls"));
    lay(&folder, &authority.for_host(), &authority);
    let gateway = world.gateway_with(secured(&world, &folder, ClientAuth::None)).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(gateway.grpc()).await.unwrap());
    }
    assert!(send(&endpoint(&gateway, &authority, None), Some(TOKEN)).await.is_ok());
    world.end(silent, gateway).await;
}

#[tokio::test]
async fn the_client_commands_see_who_answers_and_show_who_they_are() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.directory.path().join("tls"));
    lay(&folder, &authority.for_host(), &authority);
    let mut config = secured(&world, &folder, ClientAuth::Required);
    config.callers[0].identities = vec!["mtls:dns:orders.example.org".to_owned()];
    let gateway = world.gateway_with(config).await;
    let orders = folder.join("orders");
    lay(&orders, &authority.issue(vec![dns("orders.example.org")], |_| {}), &Authority::new());
    let address = format!("https://localhost:{}", gateway.grpc().port());
    let run = async |ca: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pilotgate"));
        command.args([
            "send",
            "--number",
            NUMBER,
            "--to",
            READER,
            "--text",
            "over tls",
            "--json",
            "--address",
            &address,
        ]);
        command.args(["--timeout", "3s"]);
        command.arg("--ca").arg(ca.join("ca.crt"));
        command.arg("--cert").arg(orders.join("tls.crt")).arg("--key").arg(orders.join("tls.key"));
        command.env_remove("PILOTGATE_TOKEN");
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let sent = run(&folder).await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(sends(&world).len(), 1);
    // Somebody else vouches for the gateway: nothing is shown to it.
    let refused = run(&orders).await;
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    assert_eq!(sends(&world).len(), 1);
    world.end((), gateway).await;
}

/// As Kubernetes replaces the files of a secret: a link to a folder is exchanged in one step.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_without_a_failed_call() {
    let world = World::new().await;
    let (authority, folder) = (Authority::new(), world.directory.path().join("tls"));
    let point = |generation: &str| {
        let pair = authority.for_host();
        lay(&folder.join(generation), &pair, &authority);
        symlink(generation, folder.join("next")).unwrap();
        fs::rename(folder.join("next"), folder.join("now")).unwrap();
        CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()
    };
    fs::create_dir_all(&folder).unwrap();
    let first = point("0");
    let gateway = world.gateway_with(secured(&world, &folder.join("now"), ClientAuth::None)).await;
    let endpoint = endpoint(&gateway, &authority, None);
    let old = endpoint.connect().await.unwrap();
    assert_eq!(shown(&gateway, &authority).await, first);

    let (done, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (done, calls, endpoint) = (Arc::clone(&done), Arc::clone(&calls), endpoint.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let channel = endpoint.connect().await.unwrap();
                    let request = v1::GetMessageRequest {
                        key: Some(v1::get_message_request::Key::MessageId(
                            "01970000-0000-7000-8000-000000000000".to_owned(),
                        )),
                        ..Default::default()
                    };
                    let mut request = Request::new(request);
                    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
                    let answer = MessagingServiceClient::new(channel).get_message(request).await;
                    assert_eq!(error_of(answer).reason, "MESSAGE_NOT_FOUND");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for generation in ["1", "2", "3"] {
        let next = point(generation);
        let seen = async { while shown(&gateway, &authority).await != next {} };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("the new certificate is not shown");
        let before = calls.load(Ordering::Relaxed);
        let more = async {
            while calls.load(Ordering::Relaxed) < before + 8 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), more).await.expect("no calls");
    }
    done.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    // Who was connected before still is.
    assert!(send_over(old.clone(), Some(TOKEN)).await.is_ok());
    world.end(old, gateway).await;
}
