//! The connection of the client commands to a gateway.
//!
//! Owns the address, the caller token and the limits of a call. The token is held as a secret and goes nowhere but into
//! the `authorization` header. Called by every client command and by the demo.

use std::{fs, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use zeroize::Zeroizing;

use crate::{
    cli::{errors::CliError, times},
    proto::{
        admin::v1::{
            audit_service_client::AuditServiceClient, caller_service_client::CallerServiceClient,
            number_service_client::NumberServiceClient, outbox_service_client::OutboxServiceClient,
            subscription_service_client::SubscriptionServiceClient, vault_service_client::VaultServiceClient,
        },
        v1::{inbox_service_client::InboxServiceClient, messaging_service_client::MessagingServiceClient},
    },
};

/// Which gateway, as whom, for how long.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// Address of the gateway
    #[arg(long, env = "PILOTGATE_ADDRESS", default_value = "http://127.0.0.1:50051", value_name = "URL")]
    pub address: String,
    /// Caller token; other users of this machine can see arguments, so prefer the environment or a file
    #[arg(long, env = "PILOTGATE_TOKEN", hide_env_values = true, value_parser = secret)]
    pub token: Option<SecretString>,
    /// File that holds the caller token; used instead of --token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the authorities that vouch for the gateway, for https; without it those of this machine
    #[arg(long, env = "PILOTGATE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// PEM file of the certificate to show, for https
    #[arg(long, env = "PILOTGATE_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, env = "PILOTGATE_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// How long to wait for an answer, retries included; a watch goes on after it
    #[arg(long, default_value = "30s", value_name = "SPAN", value_parser = times::span)]
    pub timeout: Duration,
    /// Print one JSON object per line, with the field names of the protobuf contract
    #[arg(long)]
    pub json: bool,
}

/// The generated client with the caller token on every call.
pub type Client = MessagingServiceClient<Connection>;

/// The same for the audit log.
pub type AuditClient = AuditServiceClient<Connection>;

/// The same for what comes in.
pub type InboxClient = InboxServiceClient<Connection>;

/// The way to a gateway.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Puts the caller token on a call; without a token the gateway refuses, in its own words.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

impl ConnectArgs {
    /// A client that connects at its first call.
    ///
    /// # Errors
    /// [`CliError::Usage`] for an address or token that cannot be one, [`CliError::Local`] for an unreadable file.
    pub fn client(&self) -> Result<Client, CliError> {
        self.connection().map(MessagingServiceClient::new)
    }

    /// Clients of both services, over one connection.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn clients(&self) -> Result<(Client, InboxClient), CliError> {
        let connection = self.connection()?;
        Ok((MessagingServiceClient::new(connection.clone()), InboxServiceClient::new(connection)))
    }

    /// A client of the service for callers.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn callers(&self) -> Result<CallerServiceClient<Connection>, CliError> {
        self.connection().map(CallerServiceClient::new)
    }

    /// A client of the service for messages that are not decided yet.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn outbox(&self) -> Result<OutboxServiceClient<Connection>, CliError> {
        self.connection().map(OutboxServiceClient::new)
    }

    /// A client of the service for the registered numbers.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn numbers(&self) -> Result<NumberServiceClient<Connection>, CliError> {
        self.connection().map(NumberServiceClient::new)
    }

    /// A client of the service for every caller's subscriptions.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn subscriptions(&self) -> Result<SubscriptionServiceClient<Connection>, CliError> {
        self.connection().map(SubscriptionServiceClient::new)
    }

    /// A client of the service for the root key.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn vault(&self) -> Result<VaultServiceClient<Connection>, CliError> {
        self.connection().map(VaultServiceClient::new)
    }

    /// A call that waits no longer than asked.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut call = Request::new(message);
        call.set_timeout(self.timeout);
        call
    }

    /// A client of the audit log.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn audit(&self) -> Result<AuditClient, CliError> {
        self.connection().map(AuditServiceClient::new)
    }

    fn connection(&self) -> Result<Connection, CliError> {
        let from_file = self.token_file.as_ref().map(read_token).transpose()?;
        connection(endpoint(&self.address, self.tls()?)?, from_file.as_ref().or(self.token.as_ref()))
    }

    /// How to show who calls and to see who answers; `None` if nothing is said of it.
    fn tls(&self) -> Result<Option<ClientTlsConfig>, CliError> {
        if self.ca.is_none() && self.cert.is_none() {
            return Ok(None);
        }
        let tls = match &self.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else { return Ok(Some(tls)) };
        let key = Zeroizing::new(read(key)?);
        Ok(Some(tls.identity(Identity::from_pem(read(cert)?, &*key))))
    }
}

/// A client for the gateway at `address`; it connects at its first call.
///
/// # Errors
/// [`CliError::Usage`] for an address or token that cannot be one.
pub fn client(address: &str, token: Option<&SecretString>) -> Result<Client, CliError> {
    connection(endpoint(address, None)?, token).map(MessagingServiceClient::new)
}

fn connection(endpoint: Endpoint, token: Option<&SecretString>) -> Result<Connection, CliError> {
    let header = token.map(header).transpose()?;
    Ok(InterceptedService::new(endpoint.connect_lazy(), Bearer(header)))
}

fn endpoint(address: &str, tls: Option<ClientTlsConfig>) -> Result<Endpoint, CliError> {
    let unusable = |why: &str| CliError::Usage(format!("--address {why}"));
    if address.contains('@') {
        return Err(unusable("must not hold a user name or password"));
    }
    let secured = address.starts_with("https://");
    if !secured && !address.starts_with("http://") {
        return Err(unusable("must begin with https:// or http://"));
    }
    if !secured && tls.is_some() {
        return Err(unusable("must begin with https:// for --ca, --cert and --key"));
    }
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| unusable("is not a URL such as http://127.0.0.1:50051"))?;
    let endpoint = if secured {
        let tls = tls.unwrap_or_else(|| ClientTlsConfig::new().with_native_roots());
        let unfit = |error: tonic::transport::Error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            CliError::Usage(format!("--ca, --cert and --key cannot be used: {error}{cause}"))
        };
        endpoint.tls_config(tls).map_err(unfit)?
    } else {
        endpoint
    };
    Ok(endpoint
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20)))
}

fn header(token: &SecretString) -> Result<MetadataValue<Ascii>, CliError> {
    let mut header = MetadataValue::try_from(format!("Bearer {}", token.expose_secret()))
        .map_err(|_| CliError::Usage("the token holds characters that no token has".into()))?;
    header.set_sensitive(true);
    Ok(header)
}

fn read_token(path: &PathBuf) -> Result<SecretString, CliError> {
    let text = fs::read_to_string(path)
        .map_err(|error| CliError::Local(format!("cannot read the token file {}: {error}", path.display())))?;
    Ok(SecretString::from(text.trim()))
}

fn read(path: &PathBuf) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| CliError::Local(format!("cannot read {}: {error}", path.display())))
}

/// Takes any text: a complaint about a token would have to show it.
fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_token_is_refused_without_being_shown() {
        let token = SecretString::from("hunter2\n");
        let error = client("http://127.0.0.1:1", Some(&token)).err().unwrap();
        assert_eq!(error.to_string(), "the token holds characters that no token has");
    }

    #[test]
    fn addresses() {
        let refused = |address| endpoint(address, None).err().map(|it| it.to_string());
        assert_eq!(refused("http://gateway:50051"), None);
        assert_eq!(refused("gateway:50051").unwrap(), "--address must begin with https:// or http://");
        let tls = Some(ClientTlsConfig::new());
        let in_the_clear = endpoint("http://gateway:50051", tls).err().unwrap().to_string();
        assert_eq!(in_the_clear, "--address must begin with https:// for --ca, --cert and --key");
        assert_eq!(refused("http://me:secret@gateway").unwrap(), "--address must not hold a user name or password");
    }
}
