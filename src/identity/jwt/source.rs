//! Where the keys of an issuer come from.

use std::{path::PathBuf, time::Duration};

use reqwest::{Client, redirect::Policy};
use tokio::{fs::File, io::AsyncReadExt};
use url::Url;

use super::keys::Keys;

/// Longest key set that is read.
const MAX_BYTES: usize = 1 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url(Url),
}

/// Reads them.
#[derive(Debug)]
pub(super) enum Fetcher {
    File(PathBuf),
    Url(Url, Client),
}

impl Fetcher {
    pub(super) fn of(source: Source) -> Result<Self, String> {
        match source {
            Source::File(path) => Ok(Self::File(path)),
            Source::Url(url) => {
                // Another part of the process may have chosen the provider already; either is the same one.
                let _ = rustls::crypto::ring::default_provider().install_default();
                // Not from wherever else the address might point to: these keys decide who is believed.
                let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(PATIENCE);
                let client = client.user_agent(concat!("pilotgate/", env!("CARGO_PKG_VERSION"))).build();
                client.map(|client| Self::Url(url, client)).map_err(|error| error.to_string())
            }
        }
    }

    /// As they are now.
    pub(super) async fn keys(&self) -> Result<Keys, String> {
        let (from, bytes) = match self {
            Self::File(path) => {
                let shown = path.display().to_string();
                let mut bytes = Vec::new();
                let read = async {
                    // One more than is allowed, so that it shows.
                    File::open(path).await?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await
                };
                read.await.map_err(|error| format!("cannot read {shown}: {error}"))?;
                (shown, bytes)
            }
            Self::Url(url, client) => {
                let failed = |error: reqwest::Error| format!("cannot read {url}: {}", told(&error.without_url()));
                let mut answer = client.get(url.clone()).send().await.map_err(failed)?;
                if answer.status() != reqwest::StatusCode::OK {
                    return Err(format!("{url} answered with status {}", answer.status().as_u16()));
                }
                let mut bytes = Vec::new();
                while let Some(part) = answer.chunk().await.map_err(failed)? {
                    bytes.extend_from_slice(&part);
                    if bytes.len() > MAX_BYTES {
                        break;
                    }
                }
                (url.to_string(), bytes)
            }
        };
        if bytes.len() > MAX_BYTES {
            return Err(format!("{from} is longer than {MAX_BYTES} bytes"));
        }
        Keys::from_json(&bytes).map_err(|error| format!("{from}: {error}"))
    }
}

/// With its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
