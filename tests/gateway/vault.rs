//! VaultService: what is sealed under which root key, and going over to another one.

use std::{fs, process::Command};

use pilotgate::{
    config::{Config, SecretRef, check_in_memory},
    domain::{
        caller::{Caller, Token},
        principal::AdminRight,
        secret::TokenHash,
    },
    proto::{
        admin::v1::{self as admin, vault_service_client::VaultServiceClient},
        v1::MessageStatus,
    },
    server::Gateway,
};
use serde_json::json;
use tonic::{Code, service::interceptor::InterceptedService, transport::Channel};

use crate::support::{Bearer, READER, World, acts, bearer, client, error_of, message_until, queued, send, text};

const OPERATOR: &str = "pgt_operator-token-for-tests";
const WATCHMAN: &str = "pgt_watchman-token-for-tests";
/// Nobody's.
const KEY: &str = "98085f8b29ab8d36780f1e888a94a09dc43875c23f1c666c152b0bf29f3a53aa";

type Vault = VaultServiceClient<InterceptedService<Channel, Bearer>>;

/// With one who may do everything with the vault, and one who may look.
fn with_operators(mut config: Config) -> Config {
    for (name, token, right) in [("operator", OPERATOR, "vault.manage"), ("watchman", WATCHMAN, "vault.view")] {
        let admin: Vec<AdminRight> = vec![right.parse().unwrap()];
        let tokens = vec![Token::of(TokenHash::of(token))];
        config.callers.push(Caller { tokens, admin, ..Caller::named(name.to_owned().try_into().unwrap()) });
    }
    config
}

async fn vault(gateway: &Gateway, token: &'static str) -> Vault {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    VaultServiceClient::with_interceptor(channel, bearer(Some(token)))
}

async fn status(client: &mut Vault) -> admin::VaultStatus {
    client.get_vault_status(admin::GetVaultStatusRequest {}).await.unwrap().into_inner().status.unwrap()
}

/// Asks until it stands so.
async fn status_until(client: &mut Vault, reached: impl Fn(&admin::VaultStatus) -> bool) -> admin::VaultStatus {
    let asking = async {
        loop {
            let status = status(client).await;
            if reached(&status) {
                return status;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), asking).await.expect("not so within 20 s")
}

async fn rotate(client: &mut Vault, etag: &str) -> Result<admin::VaultStatus, tonic::Status> {
    let request = admin::RotateRootKeyRequest { etag: etag.to_owned(), reason: "yearly".to_owned() };
    client.rotate_root_key(request).await.map(|answer| answer.into_inner().status.unwrap())
}

fn used(key_id: &str, records: i64, bodies: i64) -> admin::RootKeyUse {
    admin::RootKeyUse { key_id: key_id.to_owned(), known: true, records, bodies }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_goes_over_to_another_root_key() {
    let world = World::new().await;
    let mut slow = with_operators(world.config());
    // One goes out by itself, the others wait.
    slow.numbers[0].pacing.per_second = Some(0.001);
    let kept = slow.store.directory.join("root.key");
    let gateway = world.gateway_with(slow).await;
    let mut caller = client(&gateway).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(send(&mut caller, queued(text(READER, &format!("{n}")))).await);
        if n == 0 {
            // To its end, since what is told of it later would find another gateway.
            message_until(&mut caller, &ids[0], |message| message.status() == MessageStatus::Read).await;
        }
    }
    let mut operator = vault(&gateway, OPERATOR).await;
    let mut watchman = vault(&gateway, WATCHMAN).await;
    let before = status(&mut watchman).await;
    let old = before.current_key_id.clone();
    let whole = admin::VaultStatus {
        current_key_id: old.clone(),
        origin: admin::RootKeyOrigin::Kept.into(),
        // The record is the digest key.
        keys: vec![used(&old, 1, 19)],
        resealing: false,
        unreadable: Vec::new(),
        etag: old.clone(),
    };
    assert_eq!(before, whole);
    let old_text = fs::read_to_string(&kept).unwrap();

    let told = error_of(rotate(&mut watchman, "").await);
    assert_eq!((told.code, told.reason.as_str()), (Code::PermissionDenied, "NOT_ADMINISTRATOR"));
    let told = error_of(rotate(&mut operator, "0011223344556677").await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let told = error_of(rotate(&mut operator, "x").await);
    assert_eq!(told.violations, [("etag".to_owned(), "must be the etag of an earlier answer".to_owned())]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), old_text);
    assert_eq!(status(&mut watchman).await, whole);

    let rotated = rotate(&mut operator, &old).await.unwrap();
    let new = rotated.current_key_id.clone();
    let new_text = fs::read_to_string(&kept).unwrap();
    assert_ne!((&old, &old_text), (&new, &new_text));
    let done = status_until(&mut watchman, |status| !status.resealing).await;
    // The old one is kept for a while, sealed under the new one.
    assert_eq!(done.keys, [used(&new, 2, 19)]);
    for text in [&old_text, &new_text] {
        assert!(!format!("{rotated:?} {done:?}").contains(text.trim()));
    }
    drop((caller, operator, watchman));
    gateway.shutdown().await;

    let gateway = world.gateway_with(with_operators(world.config())).await;
    let mut caller = client(&gateway).await;
    for id in &ids {
        message_until(&mut caller, id, |message| message.status() == MessageStatus::Read).await;
    }
    let mut watchman = vault(&gateway, WATCHMAN).await;
    status_until(&mut watchman, |status| status.keys == [used(&new, 1, 0)]).await;
    drop((caller, watchman));
    gateway.shutdown().await;
    let acts = acts(&world).await.into_iter().filter(|act| act.action.starts_with("vault."));
    let told: Vec<_> = acts.map(|act| (act.actor, act.action, act.subject, act.outcome, act.reason)).collect();
    let act = |actor: &str, action: &str, subject: &str, outcome: &str, reason: &str| {
        let [actor, action, subject, outcome] = [actor, action, subject, outcome].map(str::to_owned);
        (actor, action, subject, outcome, Some(reason.to_owned()).filter(|reason| !reason.is_empty()))
    };
    let subject = format!("root-key/{old}");
    let expected = [
        act("watchman", "vault.rotate", "vault", "refused", ""),
        act("operator", "vault.rotate", "vault", "refused", "yearly"),
        act("operator", "vault.rotate", &subject, "done", "yearly"),
        act("pilotgate", "vault.retire", &subject, "done", "nothing is sealed under it any more"),
    ];
    assert_eq!(told, expected);
    world.double.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_the_configuration_needs_a_restart_and_the_command_says_so() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.vault.root_key = Some(SecretRef::Inline(KEY.into()));
    let gateway = world.gateway_with(with_operators(check_in_memory(settings).unwrap())).await;
    let mut operator = vault(&gateway, OPERATOR).await;
    let told = error_of(rotate(&mut operator, "").await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "WRONG_STATE"));
    assert!(told.message.contains("the present one in vault.previous_root_keys"), "{}", told.message);

    let current = status(&mut operator).await.current_key_id;
    let address = format!("http://{}", gateway.grpc());
    let run = async |arguments: &'static [&'static str]| {
        let address = address.clone();
        let command = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
            command.arg("vault").args(arguments).args(["--address", &address]).env("PILOTGATE_TOKEN", OPERATOR);
            command.output().unwrap()
        };
        let output = tokio::task::spawn_blocking(command).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run(&["status", "--json"]).await;
    let expected = json!({
        "current_key_id": current,
        "origin": "fixed",
        "keys": [{ "key_id": current, "known": true, "records": 1, "bodies": 0 }],
        "resealing": false,
        "unreadable": [],
        "etag": current,
    });
    assert_eq!((code, serde_json::from_str::<serde_json::Value>(&out).unwrap()), (Some(0), expected));
    let (code, out, _) = run(&["status"]).await;
    assert_eq!((code, out), (Some(0), format!("{current}  1 records, 0 bodies  current, fixed\n")));
    let (code, out, error) = run(&["rotate", "--reason", "yearly"]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("WRONG_STATE") && !error.contains(KEY), "{error}");
    world.end(operator, gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_key_that_did_not_get_to_its_place_is_not_written_over() {
    let world = World::new().await;
    let kept = world.config().store.directory.join("root.key");
    let aside = kept.with_extension("aside");
    let gateway = world.gateway_with(with_operators(world.config())).await;
    let mut operator = vault(&gateway, OPERATOR).await;
    // No file takes the place of a directory.
    fs::rename(&kept, &aside).unwrap();
    fs::create_dir(&kept).unwrap();
    let first = rotate(&mut operator, "").await.unwrap().current_key_id;
    status_until(&mut operator, |status| !status.resealing).await;
    assert_eq!(error_of(rotate(&mut operator, "").await).reason, "WRONG_STATE");
    fs::remove_dir(&kept).unwrap();
    fs::rename(&aside, &kept).unwrap();
    drop(operator);
    gateway.shutdown().await;

    // Again, and then the place is free.
    let gateway = world.gateway_with(with_operators(world.config())).await;
    let mut operator = vault(&gateway, OPERATOR).await;
    assert_eq!(status(&mut operator).await.current_key_id, first);
    fs::rename(&kept, &aside).unwrap();
    fs::create_dir(&kept).unwrap();
    rotate(&mut operator, "").await.unwrap();
    fs::remove_dir(&kept).unwrap();
    fs::rename(&aside, &kept).unwrap();
    let last = rotate(&mut operator, "").await.unwrap().current_key_id;
    status_until(&mut operator, |status| !status.resealing).await;
    drop(operator);
    gateway.shutdown().await;
    let gateway = world.gateway_with(with_operators(world.config())).await;
    let mut operator = vault(&gateway, OPERATOR).await;
    let status = status(&mut operator).await;
    assert_eq!((status.current_key_id, status.unreadable.len()), (last, 0));
    world.end(operator, gateway).await;
}
