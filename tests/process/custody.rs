//! The same search while the platform team is at work: every command of an administrator, done and refused, with keys, tokens
//! and root keys that come and go at run time.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;
use pilotgate::{
    domain::secret::TokenHash,
    sandbox::{self, Fault, FaultKind, NumberSeed, On},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde_json::{Value, json};

use crate::{
    haystack::Haystack,
    signer::Signer,
    support::{Gateway, PATH_TOKEN, Place, READER, TOKEN, free_port, patiently, run},
};

/// Keys without the usual prefix are recognised by their exact text only.
const KEY: &str = "DeclaredKey+Canary/0123456789abcdef=";
const SET_KEY: &str = "SetKey+Canary/0123456789abcdef=";
const WRONG_KEY: &str = "WrongKey+Canary/0123456789abcdef=";
const TENANT_KEY: &str = "TenantKey+Canary/0123456789abcdef=";
const WRONG_TENANT_KEY: &str = "ps_WrongTenantKeyCanary0123456789";
const SECRET: &str = "WebhookSecretCanary0123456789";
const SHOP_PATH: &str = "ShopPathTokenCanary0123456789abcdef";
const SHOP_SECRET: &str = "ShopWebhookSecretCanary0123456789";
const ADMIN: &str = "pgt_AdminTokenCanary0123456789abcdef";
const ROOT: &str = "9f1c07d2e4b85a6330ce71bd48f2a6955d0be3427a9186cfd430f85e6b12a97c";
const NEXT_ROOT: &str = "27e8b4506dfa931c8c45d07be2931fa6704ed8bb1596c3a20f5e7d84a96b30c1";
const WRONG_ROOT: &str = "c8d2519e70a64bf3165be09c3f87d4a2e9617cb085d3f42a8b1e60d79f243c5a";
/// No secret: the search finds it if it works at all.
const CONTROL: &str = "reason-canary-0123456789";

/// A gateway whose administrators come over TLS with a certificate, and what must show up nowhere.
struct House {
    place: Place,
    admin: SocketAddr,
    haystack: Haystack,
    /// Each with what it is.
    planted: Vec<(String, String)>,
}

impl House {
    /// With the account-wide key in the configuration, or without.
    async fn new(format: &str, account_wide: bool) -> Self {
        let shop = NumberSeed { id: "wn_shop".to_owned(), phone: "+5511900000001".to_owned(), ..NumberSeed::default() };
        let options = sandbox::Options {
            number_key: Some(KEY.to_owned()),
            tenant_key: Some(TENANT_KEY.to_owned()),
            webhook_secret: Some(SECRET.to_owned()),
            more_numbers: vec![shop],
            ..sandbox::Options::default()
        };
        let place = Place::new(options, "").await;
        let admin = free_port();
        let mut house = Self { place, admin, haystack: Haystack::default(), planted: Vec::new() };
        house.configure(format, account_wide);
        for (what, secret) in [
            ("the declared key", KEY),
            ("the key that is set", SET_KEY),
            ("a wrong key", WRONG_KEY),
            ("the account-wide key", TENANT_KEY),
            ("a wrong account-wide key", WRONG_TENANT_KEY),
            ("the declared webhook secret", SECRET),
            ("the path token that is given", SHOP_PATH),
            ("the webhook secret that is given", SHOP_SECRET),
            ("the declared path token", PATH_TOKEN),
            ("the declared token", TOKEN),
            ("the administrator's token", ADMIN),
        ] {
            house.plant(what, secret);
        }
        house.plant("the registered key", &house.shop_key());
        house
    }

    fn plant(&mut self, what: &str, secret: &str) {
        if !self.planted.iter().any(|(_, planted)| planted == secret) {
            self.planted.push((what.to_owned(), secret.to_owned()));
        }
    }

    fn configure(&mut self, format: &str, account_wide: bool) {
        let folder = self.place.directory.path().display().to_string();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        for (name, host) in [("server", "localhost"), ("client", "operator.test")] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.subject_alt_names = vec![SanType::DnsName(host.try_into().unwrap())];
            let key = KeyPair::generate().unwrap();
            self.place.write(&format!("{name}.crt"), &params.signed_by(&key, &authority).unwrap().pem());
            let pem = key.serialize_pem();
            self.place.write(&format!("{name}.tls"), &pem);
            // Before it stands what all such keys begin with.
            self.plant(&format!("the TLS key of the {name}"), pem.lines().nth(2).unwrap());
        }
        self.place.write("ca.crt", &authority.pem());
        let issuer = Signer::of("k1", Algorithm::ES256);
        self.place.write("jwks.json", &json!({ "keys": [issuer.jwk()] }).to_string());
        let expires = jiff::Timestamp::now().as_second() + 3600;
        for (file, subject) in [("good.jwt", "svc-orders"), ("foreign.jwt", "svc-nobody")] {
            let claims = json!({ "iss": "https://issuer.test", "aud": "pilotgate", "sub": subject, "exp": expires });
            let token = issuer.sign(&claims);
            self.place.write(file, &token);
            self.plant(file, token.rsplit('.').next().unwrap());
        }
        for (name, text) in [
            ("root", ROOT),
            ("tenant", TENANT_KEY),
            ("admin", ADMIN),
            ("shop", &self.shop_key()),
            ("set", SET_KEY),
            ("wrong", WRONG_KEY),
            ("wrong-tenant", WRONG_TENANT_KEY),
            ("path", SHOP_PATH),
            ("secret", SHOP_SECRET),
        ] {
            self.place.write(&format!("{name}.key"), text);
        }
        let tenant =
            if account_wide { format!("tenant_key = {{ file = \"{folder}/tenant.key\" }}\n") } else { String::new() };
        let config = fs::read_to_string(self.place.path("pilotgate.toml")).unwrap();
        let config = config.replace("[upstream]\n", &format!("[upstream]\n{tenant}"));
        let more = format!(
            "[log]\nlevel = \"trace\"\nformat = \"{format}\"\n[vault]\nroot_key = {{ file = \"{folder}/root.key\" }}\n\
             [admin]\nlisten = \"{}\"\ntls = {{ cert = \"{folder}/server.crt\", key = \"{folder}/server.tls\", \
             client_ca = \"{folder}/ca.crt\" }}\n[webhooks]\npublic_url = \"http://{}\"\n\
             [[jwt]]\nname = \"mesh\"\nissuer = \"https://issuer.test\"\naudiences = [\"pilotgate\"]\n\
             jwks = {{ file = \"{folder}/jwks.json\" }}\n\
             [[callers]]\nname = \"meshed\"\nidentities = [\"jwt:mesh/svc-orders\"]\n\
             [[callers.grants]]\nnumber = \"*\"\npermissions = [\"send\", \"read\"]\n\
             [[callers]]\nname = \"operator\"\ntoken_hashes = [\"{}\"]\n\
             admin = [\"numbers.manage\", \"callers.manage\", \"audit.view\", \"outbox.manage\", \
             \"subscriptions.manage\", \"vault.manage\"]\n",
            self.admin,
            self.place.http,
            TokenHash::of(ADMIN).to_hex(),
        );
        self.place.write("pilotgate.toml", &(config + &more));
    }

    fn shop_key(&self) -> String {
        let numbers = self.place.double.account().numbers;
        numbers.into_iter().find(|number| number.id == "wn_shop").unwrap().key
    }

    fn file(&self, name: &str) -> String {
        self.place.path(name).display().to_string()
    }

    /// Starts the gateway and waits until it answers.
    async fn serve(&self) -> Gateway {
        let gateway = self.place.serve();
        drop(self.place.client().await);
        gateway
    }

    /// Runs a command with a token and keeps what it prints; its exit status and output.
    fn command(&mut self, token: &str, words: &[&str]) -> (i32, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
        // What is secret stands in files and in the environment, as the README says.
        program
            .args(words)
            .env("PILOTGATE_TOKEN", token)
            .env("PILOTGATE_ADDRESS", format!("http://{}", self.place.grpc));
        let process = program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = patiently(process.id(), || process.wait_with_output()).unwrap();
        let code = output.status.code().unwrap();
        assert!(!String::from_utf8_lossy(&output.stderr).contains("cannot read"), "{words:?}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        self.haystack.add(words.join(" "), [stdout.as_bytes(), &output.stderr].concat());
        (code, stdout + &String::from_utf8(output.stderr).unwrap())
    }

    /// The same as an administrator, over TLS and with a certificate.
    fn admin(&mut self, words: &[&str]) -> (i32, String) {
        let address = format!("https://localhost:{}", self.admin.port());
        let files = ["ca.crt", "client.crt", "client.tls"].map(|name| self.file(name));
        let [ca, cert, key] = &files;
        let connection = ["--address", &address, "--ca", ca, "--cert", cert, "--key", key];
        self.command(ADMIN, &[words, &connection].concat())
    }

    fn done(&mut self, words: &[&str]) -> String {
        let (code, told) = self.admin(words);
        assert_eq!(code, 0, "{words:?}\n{told}\n{}", self.place.log().lines().last().unwrap_or_default());
        told
    }

    fn refused(&mut self, words: &[&str]) -> String {
        let (code, told) = self.admin(words);
        assert_eq!(code, 1, "{words:?}\n{told}");
        told
    }

    /// A token that a command shows, the one time when it may.
    fn issued(&mut self, words: &[&str]) -> (String, String) {
        let mut kept = std::mem::take(&mut self.haystack);
        let told: Value = serde_json::from_str(&self.done(&[words, &["--json"]].concat())).unwrap();
        std::mem::swap(&mut self.haystack, &mut kept);
        let [token, id] = ["token", "token_id"].map(|name| told[name].as_str().unwrap().to_owned());
        self.plant("an issued token", &token);
        self.haystack.add("beside an issued token", told["caller"].to_string());
        (token, id)
    }

    /// Runs a command while Pilot Status refuses everything, and repeats the key that it was shown; the exit status.
    fn against(&mut self, status: u16, key: &str, words: &[&str]) -> i32 {
        let error = format!("'{key}' is no good, like ps_{key} and {}", self.shop_key());
        let body = json!({ "error": error, "message": error, "code": "NO_KEY" });
        let refusal = Fault { status: Some(status), body: Some(body), ..Fault::new(On::Any, FaultKind::Http) };
        self.place.double.control().add_fault(refusal).unwrap();
        let before = self.place.double.requests().len();
        let (code, told) = self.admin(words);
        self.place.double.control().clear_faults();
        assert!(self.place.double.requests().len() > before, "it was not asked: {words:?} {told}");
        code
    }

    /// Starts a gateway that refuses to, and keeps what it says.
    fn does_not_start(&mut self) -> String {
        let config = self.file("pilotgate.toml");
        let (code, told) = run(&["serve", "--config", &config]);
        assert_eq!(code, Some(1), "{told}");
        self.haystack.add("a start that is refused", told.clone());
        told
    }

    fn data(&self) -> PathBuf {
        self.place.path("data")
    }
}

/// Numbers and the account-wide key.
fn numbers(house: &mut House, account_wide: bool) {
    let files = ["shop.key", "set.key", "wrong.key", "path.key", "secret.key", "tenant.key", "wrong-tenant.key"];
    let files = files.map(|name| house.file(name));
    let [shop, set, wrong, path, secret, tenant, wrong_tenant] = files.each_ref().map(String::as_str);
    let register = ["numbers", "register", "store", "--upstream-id", "wn_shop", "--reason", CONTROL, "--key-file"];
    let webhook = ["--webhook-token-file", path, "--webhook-secret-file", secret, "--json"];
    house.refused(&[&register[..], &[wrong, "--check"]].concat());
    let key = house.shop_key();
    assert_ne!(house.against(400, &key, &[&register[..], &[shop, "--check"]].concat()), 0);
    house.done(&[&register[..], &[shop, "--check"], &webhook].concat());
    house.refused(&[&register[..], &[shop]].concat());
    if account_wide {
        house.done(&["numbers", "import", "--dry-run", "--json"]);
    } else {
        house.done(&["numbers", "import", "--dry-run", "--tenant-key-file", tenant]);
    }
    house.refused(&["numbers", "import", "--tenant-key-file", wrong_tenant]);
    for status in [400, 401, 500] {
        let import = ["numbers", "import", "--dry-run", "--tenant-key-file", tenant];
        assert_ne!(house.against(status, TENANT_KEY, &import), 0);
        let set = ["numbers", "set-key", "store", "--key-file", set, "--check"];
        assert_ne!(house.against(status, SET_KEY, &set), 0);
        // Asks with the number's own key and with the account-wide one.
        house.against(status, &key, &["numbers", "check", "store", "--json"]);
    }
    house.refused(&["numbers", "set-key", "store", "--key-file", wrong, "--check"]);
    house.done(&["numbers", "set-key", "store", "--key-file", set]);
    house.admin(&["numbers", "check", "store"]);
    let send = ["send", "--number", "store", "--to", READER, "--text", "x"];
    assert_eq!(house.command(TOKEN, &send).0, 1);
    house.done(&["numbers", "set-key", "store", "--key-file", shop, "--json"]);
    house.done(&["numbers", "tenant-key", "--key-file", tenant, "--reason", CONTROL]);
    house.done(&["numbers", "update", "store", "--webhook-secret-file", secret, "--per-day", "50", "--json"]);
    for words in [&["disable", "store"][..], &["enable", "store"], &["get", "store"], &["list"], &["rotate", "store"]] {
        house.done(&[&["numbers"], words].concat());
    }
    house.plant("the rotated key", &house.shop_key());
    let key = house.shop_key();
    house.against(400, &key, &["numbers", "rotate", "store"]);
    // It has been changed, and nobody was told.
    let lost = Fault { times: Some(1), ..Fault::new(On::Keys, FaultKind::DropReply) };
    house.place.double.control().add_fault(lost).unwrap();
    house.admin(&["numbers", "rotate", "store", "--json"]);
    house.plant("the key whose answer was lost", &house.shop_key());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !house.done(&["numbers", "get", "store", "--json"]).contains("\"key_state\":\"OK\"") {
        assert!(Instant::now() < deadline, "the lost key is not recovered");
    }
    house.plant("the recovered key", &house.shop_key());
    assert_eq!(house.command(TOKEN, &send).0, 0);
    house.refused(&["numbers", "rotate", "store", "--etag", "old"]);
    house.refused(&["numbers", "rotate", crate::support::NUMBER]);
}

/// Callers and their tokens, and who is refused.
fn callers(house: &mut House) {
    house.done(&["callers", "create", "shop-api", "--grant", "store:send,read", "--reason", CONTROL, "--json"]);
    house.refused(&["callers", "create", "shop-api"]);
    let (first, id) = house.issued(&["callers", "issue-token", "shop-api"]);
    assert_eq!(house.command(&first, &["send", "--number", "store", "--to", READER, "--text", "y", "--json"]).0, 0);
    let (second, next) = house.issued(&["callers", "rotate-token", "shop-api", &id, "--at-once"]);
    house.done(&["callers", "revoke-token", "shop-api", &next]);
    for words in [
        &["update", "shop-api", "--per-minute", "5"][..],
        &["grant", "shop-api", "*:read"],
        &["disable", "shop-api"],
        &["enable", "shop-api"],
        &["get", "shop-api", "--json"],
        &["list", "--json"],
        &["list"],
    ] {
        house.done(&[&["callers"], words].concat());
    }
    let get = ["get", "01970000-0000-7000-8000-000000000000"];
    let jwts = ["good.jwt", "foreign.jwt"].map(|name| fs::read_to_string(house.place.path(name)).unwrap());
    for token in [first.as_str(), &second, &jwts[0], &jwts[1], TOKEN, WRONG_KEY] {
        assert_eq!(house.command(token, &get).0, 1);
        assert_eq!(house.command(token, &["callers", "list", "--json"]).0, 1);
    }
    house.done(&["callers", "delete", "shop-api"]);
}

/// A secret in every place where it does not belong.
fn misplaced(house: &mut House, secret: &str) {
    let grant = format!("{secret}:send");
    let subject = format!("caller/{secret}");
    for words in [
        &["numbers", "get", secret][..],
        &["numbers", "check", secret],
        &["numbers", "rotate", secret],
        &["numbers", "disable", secret],
        &["numbers", "delete", secret],
        &["numbers", "update", secret, "--per-day", "1"],
        &["numbers", "update", "store", "--upstream-id", secret, "--etag", "old"],
        &["numbers", "update", "store", "--phone", secret],
        &["numbers", "disable", "store", "--etag", secret],
        &["numbers", "import", "--upstream-id", secret, "--dry-run"],
        &["callers", "get", secret],
        &["callers", "create", "other", "--identity", secret],
        &["callers", "create", "other", "--admin", secret],
        &["callers", "create", "other", "--grant", secret],
        &["callers", "grant", "orders", &grant],
        &["callers", "disable", secret],
        &["callers", "issue-token", secret],
        &["callers", "revoke-token", "operator", secret],
        &["callers", "revoke-token", "other", secret],
        &["callers", "rotate-token", "other", secret],
        &["callers", "update", "other", "--per-day", "1", "--etag", secret],
        &["audit", "list", "--actor", secret],
        &["audit", "list", "--subject", &subject],
        &["outbox", "list", "--number", secret],
        &["outbox", "list", "--caller", secret],
        &["outbox", "retry", secret],
        &["outbox", "discard", secret, "--reason", "x"],
        &["outbox", "resolve", secret, "--not-sent", "--reason", "x"],
        &["subscriptions", "list", "--caller", secret],
        &["subscriptions", "seek", "orders", "board", "--to", secret],
        &["subscriptions", "seek", secret, "board", "--to", "latest"],
        &["subscriptions", "delete", "orders", secret],
        &["vault", "rotate", "--etag", secret],
    ] {
        let mut kept = std::mem::take(&mut house.haystack);
        let (code, mut told) = house.admin(words);
        // What the client itself does not understand goes nowhere.
        if code == 2 {
            told.clear();
        }
        // Somebody without any right is turned away, which the audit log notes.
        let (code, refused) = house.command(TOKEN, words);
        told += if code == 2 { "" } else { &refused };
        std::mem::swap(&mut house.haystack, &mut kept);
        // Under a name that does not tell the secret itself.
        let words = words.iter().map(|word| word.replace(secret, "SECRET")).collect::<Vec<_>>();
        house.haystack.add(words.join(" "), told);
    }
}

/// What is about neither numbers nor callers.
fn the_rest(house: &mut House) {
    for words in [
        &["audit", "list", "--json"][..],
        &["audit", "verify", "--json"],
        &["outbox", "list", "--json"],
        &["subscriptions", "list", "--json"],
        &["vault", "status", "--json"],
        &["vault", "status"],
    ] {
        house.done(words);
    }
    // The file gives the same key still, and then another one.
    house.refused(&["vault", "rotate"]);
    house.place.write("root.key", WRONG_KEY);
    house.refused(&["vault", "rotate"]);
    house.place.write("root.key", NEXT_ROOT);
    house.done(&["vault", "rotate", "--reason", CONTROL, "--json"]);
    house.done(&["vault", "status", "--json"]);
    let export = house.done(&["audit", "export"]);
    assert!(export.contains("number.key.rotate") && export.contains(CONTROL), "{export}");
    house.haystack.add("the audit log", export);
}

async fn worked(format: &str, account_wide: bool) -> House {
    let mut house = House::new(format, account_wide).await;
    let gateway = house.serve().await;
    let line = fs::read(format!("/proc/{}/cmdline", gateway.id())).unwrap();
    house.haystack.add("the command line", line);
    tokio::task::block_in_place(|| {
        numbers(&mut house, account_wide);
        callers(&mut house);
        if account_wide {
            let issued = house.planted.iter().find(|(what, _)| what == "an issued token").unwrap().1.clone();
            house.done(&["callers", "create", "other"]);
            for secret in [house.shop_key().as_str(), KEY, ROOT, ADMIN, &issued] {
                misplaced(&mut house, secret);
            }
        }
        the_rest(&mut house);
    });
    // Killed, so that what was written last is still in the WAL.
    gateway.kill();
    house.haystack.add_files(&house.data());
    house.place.write("root.key", WRONG_ROOT);
    let told = house.does_not_start();
    assert!(told.contains("root key"), "{told}");
    house.place.write("root.key", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    house.does_not_start();
    house.place.write("root.key", NEXT_ROOT);
    let gateway = house.serve().await;
    gateway.signal("TERM");
    assert!(tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap().success());
    let database = rusqlite::Connection::open(house.data().join("pilotgate.db")).unwrap();
    let half =
        "UPDATE records SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS BLOB) WHERE name = 'store'";
    assert_eq!(database.execute(half, []).unwrap(), 1);
    drop(database);
    let gateway = house.serve().await;
    tokio::task::block_in_place(|| {
        assert!(house.done(&["numbers", "list", "--json"]).contains("UNREADABLE"));
        house.refused(&["numbers", "rotate", "store"]);
        house.done(&["vault", "status", "--json"]);
        house.done(&["numbers", "delete", "store", "--json"]);
    });
    gateway.signal("TERM");
    assert!(tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap().success());
    house.haystack.add_files(&house.data());
    house.haystack.add("the log", house.place.log());
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_show_up_nowhere_while_the_platform_team_works() {
    for (format, account_wide) in [("text", true), ("json", false)] {
        let house = worked(format, account_wide).await;
        let haystack = &house.haystack;
        assert!(haystack.places("TRACE").contains(&"the log"), "the log is not at trace level");
        let found = haystack.places(CONTROL);
        for place in ["the audit log", "pilotgate.db-wal", "pilotgate.db"] {
            assert!(found.contains(&place), "the search does not find what lies in {place}: {found:?}");
        }
        let mut leaks = Vec::new();
        for (what, secret) in &house.planted {
            leaks.extend(haystack.places(secret).into_iter().map(|place| format!("{what} in: {place}")));
        }
        for root in [ROOT, NEXT_ROOT, WRONG_ROOT] {
            let places = haystack.places_of_bytes(&hex::decode(root).unwrap());
            leaks.extend(places.into_iter().chain(haystack.places(root)).map(|place| format!("{root} in: {place}")));
        }
        assert!(leaks.is_empty(), "{format}\n{}", leaks.join("\n"));
    }
}
