//! A double of Pilot Status with the gateway in front of it, on this machine and on loopback alone.
//!
//! Owns what `sandbox` and `demo` both need: two servers wired together by their public faces, a caller, and a data
//! directory that is gone afterwards. The webhook is registered over HTTP, as an operator would do it.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    cli::errors::CliError,
    config::{
        self, SecretRef, Settings,
        settings::{CallerSettings, GrantSettings, NumberSettings, PaceSettings},
    },
    domain::{principal::Permission, secret::CallerToken, sources::Sources},
    sandbox::{self, Sandbox},
    server::{self, Gateway},
    upstream::EVENTS,
};

/// Where to listen; port 0 takes a free one.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Callers.
    pub grpc: SocketAddr,
    /// Webhooks and health.
    pub http: SocketAddr,
    /// The double.
    pub upstream: SocketAddr,
}

impl Places {
    /// Free ports on loopback.
    pub const FREE: Self = {
        let free = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { grpc: free, http: free, upstream: free }
    };
}

/// The two servers, answering.
pub struct Stage {
    double: Sandbox,
    gateway: Gateway,
    token: CallerToken,
    number: String,
    directory: TempDir,
}

impl Stage {
    /// Starts both.
    ///
    /// # Errors
    /// A port or a temporary directory that cannot be had.
    pub async fn open(places: Places) -> Result<Self, CliError> {
        let local = |what: &str, error: &dyn std::fmt::Display| CliError::Local(format!("{what}: {error}"));
        let sources = Sources::system();
        let options = sandbox::Options { listen: places.upstream, ..sandbox::Options::default() };
        let double = sandbox::open(options).await.map_err(|error| {
            local(&format!("cannot listen on {} (--port 0 takes free ports)", places.upstream), &error)
        })?;
        let directory = tempfile::Builder::new().prefix("pilotgate-").tempdir();
        let directory = directory.map_err(|error| local("cannot make a temporary directory", &error))?;
        let token = CallerToken::generate(&sources);
        let path_token = hex::encode(sources.random::<16>());

        let account = double.account();
        let [number, ..] = account.numbers.as_slice() else {
            return Err(CliError::Local("the double has no number".to_owned()));
        };
        let inline = |text: &str| SecretRef::Inline(SecretString::from(text));
        let mut settings = Settings::defaults().map_err(|error| local("defaults", &error))?;
        settings.grpc.listen = places.grpc;
        settings.http.listen = places.http;
        settings.upstream.base_url = double.base_url().to_owned();
        settings.store.directory = directory.path().to_owned();
        settings.numbers = vec![NumberSettings {
            name: number.id.clone(),
            upstream_id: Some(number.id.clone()),
            phone: Some(number.phone.clone()),
            key: inline(&number.key),
            webhook_token: Some(inline(&path_token)),
            webhook_secrets: vec![inline(&account.webhook_secret)],
            pace: PaceSettings::default(),
            read_back: None,
            quota: Default::default(),
        }];
        settings.callers = vec![CallerSettings {
            name: "sandbox".to_owned(),
            token_hashes: vec![token.hash().to_hex()],
            grants: vec![GrantSettings {
                number: "*".to_owned(),
                permissions: vec![
                    Permission::Send,
                    Permission::Cancel,
                    Permission::Read,
                    Permission::Observe,
                    Permission::Inbox,
                ],
                ..GrantSettings::default()
            }],
            ..CallerSettings::default()
        }];
        let config = config::check_in_memory(settings).map_err(|error| local("settings", &error))?;
        let gateway =
            server::start(config, sources).await.map_err(|error| local("cannot start the gateway", &error))?;

        let webhook = format!("http://{}/webhooks/{path_token}", gateway.http());
        register(&double, &number.id, &number.key, &webhook).await?;
        Ok(Self { number: number.id.clone(), double, gateway, token, directory })
    }

    /// Where callers connect.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.gateway.grpc())
    }

    /// Where webhooks come in and health is asked.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.gateway.http())
    }

    /// The double.
    pub const fn double(&self) -> &Sandbox {
        &self.double
    }

    /// The token of a caller who may do everything.
    pub fn token(&self) -> SecretString {
        SecretString::from(self.token.expose())
    }

    /// The number to send from.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// Ends both and removes the data directory.
    pub async fn close(self) {
        self.gateway.shutdown().await;
        self.double.shutdown().await;
        if let Err(error) = self.directory.close() {
            tracing::warn!(%error, "the temporary directory was not removed");
        }
    }
}

async fn register(double: &Sandbox, number: &str, key: &str, url: &str) -> Result<(), CliError> {
    let failed = |error: reqwest::Error| CliError::Local(format!("cannot register the webhook: {error}"));
    let key = SecretString::from(key);
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .map_err(failed)?
        .post(format!("{}/v1/webhooks", double.base_url()))
        .header("x-api-key", key.expose_secret())
        .json(&json!({ "url": url, "name": "pilotgate", "events": EVENTS, "whatsappNumberId": number }))
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    Ok(())
}
