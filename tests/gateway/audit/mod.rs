//! The audit log: what is in it, who reads it, and that nobody changes it unnoticed.

mod attempts;
mod export;
mod listing;
mod tampering;

use pilotgate::{
    config::Config,
    domain::{
        caller::{Caller, Token},
        secret::TokenHash,
    },
    proto::admin::v1::{
        AuditEntry, ListAuditEntriesRequest, VerifyAuditChainRequest, VerifyAuditChainResponse,
        audit_service_client::AuditServiceClient,
    },
    server::Gateway,
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use crate::support::{Bearer, World, bearer};

/// The token of `reviewer`, who may read the audit log and nothing else.
pub const REVIEWER: &str = "pgt_reviewer-token-for-tests";
/// The token of `keeper`, who administers numbers and not the audit log.
pub const KEEPER: &str = "pgt_keeper-token-for-tests";

pub type AuditClient = AuditServiceClient<InterceptedService<Channel, Bearer>>;

/// The world's configuration, with the two administrators.
pub fn config(world: &World) -> Config {
    with_administrators(world.config())
}

pub fn with_administrators(mut config: Config) -> Config {
    for (name, token, right) in [("reviewer", REVIEWER, "audit.view"), ("keeper", KEEPER, "numbers.manage")] {
        config.callers.push(Caller {
            tokens: vec![Token::of(TokenHash::of(token))],
            admin: vec![right.parse().unwrap()],
            ..Caller::named(name.to_owned().try_into().unwrap())
        });
    }
    config
}

pub async fn audit_client(gateway: &Gateway, token: Option<&'static str>) -> AuditClient {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    AuditServiceClient::with_interceptor(channel, bearer(token))
}

/// Every entry, oldest first.
pub async fn whole(client: &mut AuditClient) -> Vec<AuditEntry> {
    let mut request = ListAuditEntriesRequest { oldest_first: true, page_size: 1000, ..Default::default() };
    let mut entries = Vec::new();
    loop {
        let page = client.list_audit_entries(request.clone()).await.unwrap().into_inner();
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        request.page_token = page.next_page_token;
    }
}

pub async fn verified(client: &mut AuditClient) -> VerifyAuditChainResponse {
    client.verify_audit_chain(VerifyAuditChainRequest {}).await.unwrap().into_inner()
}
