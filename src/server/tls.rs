//! TLS of a port: read from files, and read again when these change. Who was there before keeps what it has.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};
use zeroize::Zeroizing;

use crate::config::{self, ClientAuth};

/// What a port shows and asks for.
pub(super) struct Tls {
    files: config::Tls,
    config: ArcSwap<ServerConfig>,
    /// What the files held when they were last looked at, whether that was of use or not.
    seen: Mutex<[u8; 32]>,
}

/// The files as they were at one moment.
struct Read {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files; the error says which of them is of no use, and why.
    pub(super) async fn open(files: config::Tls) -> Result<Arc<Self>, String> {
        let read = read(&files).await?;
        let config = usable(&files, &read)?;
        let seen = Mutex::new(read.fingerprint());
        Ok(Arc::new(Self { files, config: ArcSwap::from_pointee(config), seen }))
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Looks at the files every now and then, until draining. What they hold is looked at, not when they were written:
    /// a link may come to point elsewhere.
    pub(super) async fn watch(self: Arc<Self>, draining: CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(self.files.check_interval) => self.look().await,
                () = draining.cancelled() => return,
            }
        }
    }

    async fn look(&self) {
        let read = read(&self.files).await;
        let fingerprint = match &read {
            Ok(read) => read.fingerprint(),
            Err(error) => Sha256::digest(error.as_bytes()).into(),
        };
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == fingerprint {
                return;
            }
            *seen = fingerprint;
        }
        match read.and_then(|read| usable(&self.files, &read)) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                tracing::info!(cert = %self.files.cert.display(), "new connections get the new certificate");
            }
            Err(error) => tracing::error!(%error, "the new certificate is of no use; the one before stays"),
        }
    }
}

impl Read {
    fn fingerprint(&self) -> [u8; 32] {
        let parts = [&self.cert, &*self.key, self.client_ca.as_deref().unwrap_or_default()];
        let whole = parts.into_iter().fold(Sha256::new(), |hash, part| {
            let part: &[u8] = part;
            hash.chain_update(part.len().to_be_bytes()).chain_update(part)
        });
        whole.finalize().into()
    }
}

async fn read(files: &config::Tls) -> Result<Read, String> {
    let client_ca = match &files.client_ca {
        Some(path) => Some(content("client_ca", path).await?),
        None => None,
    };
    let key = Zeroizing::new(content("key", &files.key).await?);
    Ok(Read { cert: content("cert", &files.cert).await?, key, client_ca })
}

async fn content(setting: &str, path: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(path).await.map_err(|error| format!("{setting}: cannot read {}: {error}", path.display()))
}

fn usable(files: &config::Tls, read: &Read) -> Result<ServerConfig, String> {
    let mode = std::fs::metadata(&files.key).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o007 != 0) {
        tracing::warn!(key = %files.key.display(), "every user of this machine can get at the private key");
    }
    let chain = certificates("cert", &files.cert, &read.cert)?;
    let unusable = |error: &dyn std::fmt::Display| format!("key: {}: {error}", files.key.display());
    let key = PrivateKeyDer::from_pem_slice(&read.key).map_err(|_| unusable(&"holds no private key in PEM"))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match (&files.client_ca, &read.client_ca) {
        (Some(path), Some(pem)) => {
            let untrusted = |error: &dyn std::fmt::Display| format!("client_ca: {}: {error}", path.display());
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca", path, pem)? {
                roots.add(certificate).map_err(|error| untrusted(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match files.client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional | ClientAuth::None => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| untrusted(&error))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unusable(&format!("is not the key of {}", files.cert.display())),
        error => unusable(&error),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A session that is taken up again would not have its certificate verified again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates(setting: &str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{setting}: {} holds no certificate in PEM", path.display())),
    }
}

/// The names in a client certificate that has been verified, as callers are known by them. A SPIFFE id counts only if it is
/// the one URI in there, as SPIFFE has it.
pub(super) fn names(chain: Option<&[CertificateDer<'_>]>) -> io::Result<Arc<[String]>> {
    let Some([certificate, ..]) = chain else { return Ok(Arc::default()) };
    let unreadable = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let (_, certificate) = parse_x509_certificate(certificate).map_err(|error| unreadable(&error))?;
    let named = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
    let names = named.map(|named| named.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = names.iter().filter_map(uri).collect();
    let spiffe = match uris.as_slice() {
        [one] if one.starts_with("spiffe://") => Some(format!("mtls:{one}")),
        _ => None,
    };
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("mtls:dns:{}", name.to_ascii_lowercase())),
        _ => None,
    });
    Ok(spiffe.into_iter().chain(dns).collect())
}

const fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gateway.test".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[tokio::test]
    async fn a_replacement_that_is_of_no_use_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key, client_ca] = ["tls.crt", "tls.key", "ca.crt"].map(|name| folder.path().join(name));
        let ((first, first_key), (second, second_key)) = (pair(), pair());
        let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
        write(&cert, &first);
        write(&key, &first_key);
        write(&client_ca, &first);
        let files = config::Tls {
            cert: cert.clone(),
            key: key.clone(),
            client_ca: Some(client_ca.clone()),
            client_auth: ClientAuth::Required,
            check_interval: Duration::from_secs(3600),
        };
        let tls = Tls::open(files.clone()).await.unwrap();
        let before = tls.config.load_full();
        let unchanged = async || {
            tls.look().await;
            Arc::ptr_eq(&before, &tls.config.load_full())
        };
        let refused = async || Tls::open(files.clone()).await.err().unwrap();
        assert!(unchanged().await);
        write(&cert, "nothing");
        assert!(unchanged().await);
        assert_eq!(refused().await, format!("cert: {} holds no certificate in PEM", cert.display()));
        write(&cert, &second);
        assert!(unchanged().await);
        assert_eq!(refused().await, format!("key: {}: is not the key of {}", key.display(), cert.display()));
        write(&key, "nothing");
        assert!(unchanged().await);
        assert_eq!(refused().await, format!("key: {}: holds no private key in PEM", key.display()));
        write(&key, &second_key);
        fs::remove_file(&client_ca).unwrap();
        assert!(unchanged().await);
        assert!(refused().await.starts_with(&format!("client_ca: cannot read {}: ", client_ca.display())));
        write(&client_ca, &second);
        assert!(!unchanged().await);
    }
}
