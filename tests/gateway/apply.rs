//! `pilotgate apply` and `pilotgate export`, as processes, against a gateway.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use pilotgate::{
    config::Config,
    domain::{
        caller::{Caller, Token},
        secret::TokenHash,
    },
    proto::admin::v1::{
        self as admin, audit_service_client::AuditServiceClient, caller_service_client::CallerServiceClient,
        number_service_client::NumberServiceClient,
    },
    sandbox::AccountNumber,
    server::Gateway,
};
use serde_json::Value;
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use crate::support::{Bearer, NUMBER, World, bearer, two_numbers};

const OPERATOR: &str = "pgt_operator-token-for-tests";

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

type Connection = InterceptedService<Channel, Bearer>;

struct Clients {
    numbers: NumberServiceClient<Connection>,
    callers: CallerServiceClient<Connection>,
    audit: AuditServiceClient<Connection>,
}

impl Clients {
    /// How many entries there are in the audit log.
    async fn logged(&mut self) -> usize {
        let request = admin::ListAuditEntriesRequest { page_size: 1000, ..Default::default() };
        self.audit.list_audit_entries(request).await.unwrap().into_inner().entries.len()
    }
}

fn config(world: &World) -> Config {
    let mut config = world.config();
    let admin = ["numbers.manage", "callers.manage", "audit.view"].map(|right| right.parse().unwrap()).into();
    let tokens = vec![Token::of(TokenHash::of(OPERATOR))];
    config.callers.push(Caller { tokens, admin, ..Caller::named("operator".to_owned().try_into().unwrap()) });
    config
}

async fn clients(gateway: &Gateway) -> Clients {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    Clients {
        numbers: NumberServiceClient::with_interceptor(channel.clone(), bearer(Some(OPERATOR))),
        callers: CallerServiceClient::with_interceptor(channel.clone(), bearer(Some(OPERATOR))),
        audit: AuditServiceClient::with_interceptor(channel, bearer(Some(OPERATOR))),
    }
}

async fn run(gateway: &Gateway, arguments: &[&str]) -> Ended {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pilotgate"));
    command.args(arguments).env("PILOTGATE_TOKEN", OPERATOR);
    command.env("PILOTGATE_ADDRESS", format!("http://{}", gateway.grpc()));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A file of the world with a key of the second number in it, by reference.
struct File(PathBuf);

impl File {
    fn write(world: &World, name: &str, text: &str) -> Self {
        let path = world.directory.path().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

fn second(world: &World) -> AccountNumber {
    world.double.account().numbers[1].clone()
}

/// A number and a caller, with the key where a reference finds it.
fn shop(world: &World, description: &str, per_day: u64) -> String {
    let number = second(world);
    let key = File::write(world, "shop.key", &format!("{}\n", number.key));
    format!(
        "[[numbers]]\nname = 'shop'\ndescription = '{description}'\nphone = '{phone}'\nkey = {{ file = '{key}' }}\n\
         rotate_every = '90d'\nread_back = 'terminal'\npace = {{ per_second = 5, burst = 10, min_gap = '250ms' }}\n\
         quota = {{ per_day = {per_day} }}\n\
         [[callers]]\nname = 'till'\ndescription = 'at the counter'\nidentities = ['mtls:dns:till.internal']\n\
         admin = ['callers.view']\nquota = {{ per_minute = 60 }}\n\
         [[callers.grants]]\nnumber = 'shop'\npermissions = ['send', 'read']\ntemplates = ['order_update']\n\
         recipient_prefixes = ['+55']\n",
        phone = number.phone,
        key = key.path(),
    )
}

#[tokio::test]
async fn a_file_is_applied_once_changed_and_pruned() {
    let world = World::with(two_numbers()).await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut clients = clients(&gateway).await;
    let file = File::write(&world, "apply.toml", &shop(&world, "the shop", 5000));

    let dry = run(&gateway, &["apply", "-f", file.path(), "--dry-run", "--exit-code"]).await;
    assert_eq!((dry.code, dry.stderr.as_str()), (1, ""));
    let expected = format!(
        "+ number shop\n    description  \"the shop\"\n    phone  \"{}\"\n    rotate_every  \"2160h\"\n    \
         pace  {{ per_second = 5.0, burst = 10, min_gap = \"250ms\" }}\n    quota  {{ per_day = 5000 }}\n    \
         read_back  \"terminal\"\n+ caller till\n    description  \"at the counter\"\n    \
         identities  [\"mtls:dns:till.internal\"]\n    admin  [\"callers.view\"]\n    quota  {{ per_minute = 60 }}\n    \
         grants  [{{ number = \"shop\", permissions = [\"send\", \"read\"], templates = [\"order_update\"], \
         recipient_prefixes = [\"+55\"] }}]\n2 to create, 0 to change, 0 to delete, 0 unchanged\n",
        second(&world).phone
    );
    assert_eq!(dry.stdout, expected);
    assert_eq!(run(&gateway, &["apply", "-f", file.path(), "--dry-run"]).await.code, 0);

    let made = run(&gateway, &["apply", "-f", file.path(), "--reason", "change 1"]).await;
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    assert_eq!(made.stdout, format!("{expected}created  number shop\ncreated  caller till\n"));
    let request = admin::GetNumberRequest { name: "shop".to_owned() };
    let number = clients.numbers.get_number(request).await.unwrap().into_inner().number.unwrap();
    assert_eq!((number.key_generation, number.quota.unwrap().per_day), (1, Some(5000)));

    // Once more, and once more from what is exported: nothing to do, and nothing in the audit log.
    let logged = clients.logged().await;
    let exported = run(&gateway, &["export"]).await;
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""));
    assert!(!exported.stdout.contains(&second(&world).key) && !exported.stdout.contains(NUMBER), "{}", exported.stdout);
    let exported = File::write(&world, "exported.toml", &exported.stdout);
    for path in [file.path(), exported.path()] {
        let again = run(&gateway, &["apply", "-f", path, "--prune"]).await;
        let nothing = "0 to create, 0 to change, 0 to delete, 2 unchanged\n";
        assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (0, nothing, ""));
    }
    assert_eq!(clients.logged().await, logged);

    // A change of two fields, each told as before -> after.
    let file = File::write(&world, "apply.toml", &shop(&world, "the shop", 7).replace("'send', 'read'", "'send'"));
    let changed = run(&gateway, &["apply", "-f", file.path(), "--json"]).await;
    assert_eq!((changed.code, changed.stderr.as_str()), (0, ""));
    let lines: Vec<Value> = changed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    let change = serde_json::json!({
        "kind": "number", "name": "shop", "action": "CHANGE",
        "changes": [{ "field": "quota", "before": "{ per_day = 5000 }", "after": "{ per_day = 7 }" }],
    });
    assert_eq!(lines[0], change);
    assert_eq!(lines[1]["changes"][0]["field"], "grants");
    assert_eq!(lines[2], serde_json::json!({ "create": 0, "change": 2, "delete": 0, "unchanged": 0 }));
    let applied = serde_json::json!({ "kind": "caller", "name": "till", "action": "CHANGE", "result": "APPLIED" });
    assert_eq!(lines[4], applied);

    // The key is set only if asked for.
    let set = run(&gateway, &["apply", "-f", file.path(), "--set-keys"]).await;
    assert_eq!(set.code, 0, "{}", set.stderr);
    assert!(set.stdout.contains("~ number shop\n    key  generation 1 -> set anew\n"), "{}", set.stdout);

    // What the file does not name goes only if asked for; what the configuration declares never does.
    let empty = File::write(&world, "empty.toml", &format!("[[callers]]\nname = 'orders'\n# {NUMBER}\n"));
    let kept = run(&gateway, &["apply", "-f", empty.path()]).await;
    let told = "! caller orders  declared in the configuration, left alone\n  number shop  not in the file; --prune \
                deletes it\n  caller till  not in the file; --prune deletes it\n";
    let mut lines: Vec<_> = kept.stdout.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = told.lines().chain(["0 to create, 0 to change, 0 to delete, 0 unchanged"]).collect();
    expected.sort_unstable();
    assert_eq!((kept.code, lines), (0, expected));
    let pruned = run(&gateway, &["apply", "-f", empty.path(), "--prune"]).await;
    assert_eq!(pruned.code, 0, "{}", pruned.stderr);
    assert!(pruned.stdout.ends_with("deleted  caller till\ndeleted  number shop\n"), "{}", pruned.stdout);
    let left = clients.callers.list_callers(admin::ListCallersRequest::default()).await.unwrap().into_inner().callers;
    assert!(left.iter().all(|caller| caller.declared) && left.len() == 4);
    world.end(clients, gateway).await;
}

#[tokio::test]
async fn a_change_that_comes_between_is_not_undone() {
    let world = World::with(two_numbers()).await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut clients = clients(&gateway).await;
    for name in ["till", "till2"] {
        let request = admin::CreateCallerRequest { name: name.to_owned(), ..Default::default() };
        clients.callers.create_caller(request).await.unwrap();
    }
    // The command that prints the key runs after the comparison, and waits for the change.
    let directory = world.directory.path();
    let (started, go) = (directory.join("started"), directory.join("go"));
    let key = File::write(&world, "shop.key", &second(&world).key);
    let script = format!(
        "touch '{}'; until [ -e '{}' ]; do sleep 0.02; done; cat '{}'",
        started.display(),
        go.display(),
        key.path()
    );
    let file = File::write(
        &world,
        "apply.toml",
        &format!(
            "[[numbers]]\nname = 'shop'\nkey = {{ command = ['sh', '-c', \"{script}\"] }}\n\
             [[callers]]\nname = 'till'\ndescription = 'mine'\n[[callers]]\nname = 'till2'\ndescription = 'mine'\n"
        ),
    );
    let between = async {
        let deadline = Instant::now() + Duration::from_secs(8);
        while !started.exists() {
            assert!(Instant::now() < deadline, "the command was not run");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let request = admin::DisableCallerRequest { name: "till".to_owned(), ..Default::default() };
        clients.callers.disable_caller(request).await.unwrap();
        fs::write(&go, "").unwrap();
    };
    let arguments = ["apply", "-f", file.path()];
    let (ended, ()) = tokio::join!(run(&gateway, &arguments), between);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stdout.ends_with("created  number shop\nnot changed  caller till\nnot changed  caller till2\n"),
        "{}",
        ended.stdout
    );
    assert!(ended.stderr.starts_with("error: ABORTED ETAG_MISMATCH: "), "{}", ended.stderr);
    let request = admin::GetCallerRequest { name: "till".to_owned() };
    let till = clients.callers.get_caller(request).await.unwrap().into_inner().caller.unwrap();
    assert_eq!((till.description.as_str(), till.state()), ("", admin::CallerState::Disabled));

    // The next time it is compared anew, and what was disabled stays so.
    let again = run(&gateway, &arguments).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stdout.ends_with("changed  caller till\nchanged  caller till2\n"), "{}", again.stdout);
    let request = admin::GetCallerRequest { name: "till".to_owned() };
    let till = clients.callers.get_caller(request).await.unwrap().into_inner().caller.unwrap();
    assert_eq!((till.description.as_str(), till.state()), ("mine", admin::CallerState::Disabled));
    world.end(clients, gateway).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing() {
    let world = World::with(two_numbers()).await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut clients = clients(&gateway).await;
    let logged = clients.logged().await;
    let good = "[[callers]]\nname = 'till'\n";
    let missing = world.directory.path().join("none.key");
    let missing = missing.display();
    for (text, told) in [
        ("[[callers]\n".to_owned(), "TOML parse error"),
        (format!("{good}color = 'red'\n"), "callers.0.color: unknown setting color; known here: name, "),
        (format!("{good}[[callers.grants]]\nnumber = 'none'\npermissions = ['send']\n"), "there is no number \"none\""),
        (format!("{good}[[numbers]]\nname = 'shop'\n"), "number \"shop\": key is missing, and the number is not"),
        (
            format!("{good}[[numbers]]\nname = 'shop'\nkey = {{ file = '{missing}' }}\n"),
            "number \"shop\": key: cannot read ",
        ),
        (
            format!("{good}[[numbers]]\nname = 'shop'\nkey = 'ps_key-in-the-file'\n"),
            "number \"shop\": key: must be a reference",
        ),
    ] {
        let file = File::write(&world, "bad.toml", &text);
        let ended = run(&gateway, &["apply", "-f", file.path()]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{text}{}", ended.stderr);
        let begin = format!("error: {} cannot be applied, nothing was changed:\n  ", file.path());
        assert!(ended.stderr.starts_with(&begin) && ended.stderr.contains(told), "{text}{}", ended.stderr);
        assert!(!ended.stderr.contains("ps_key-in-the-file"), "{}", ended.stderr);
    }
    assert_eq!(clients.logged().await, logged);
    world.end(clients, gateway).await;
}
