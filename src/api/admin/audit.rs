//! `pilotgate.admin.v1.AuditService`.

use tonic::{Request, Response, Status};

use super::acting;
use crate::{
    admin::Admin,
    api::{convert, status::of_admin},
    identity::{Acting, ViewAudit},
    proto::admin::v1::{self, audit_service_server::AuditService},
};

/// The service for the audit log.
#[derive(Clone)]
pub struct AuditApi {
    admin: Admin,
}

impl AuditApi {
    /// Over these use cases.
    pub const fn new(admin: Admin) -> Self {
        Self { admin }
    }
}

/// What the audit log calls a try at one of these without the right.
const LIST: (&str, &str) = ("audit.list", "audit/log");
const VERIFY: (&str, &str) = ("audit.verify", "audit/log");

#[tonic::async_trait]
impl AuditService for AuditApi {
    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        let acting: Acting<ViewAudit> = acting(&self.admin, &request, "", LIST).await?;
        let tokens = convert::AuditTokens::of(&self.admin.page_key(), acting.actor(), request.get_ref());
        let query = convert::audit_query(request.into_inner(), &tokens)?;
        let page = self.admin.audit_page(&acting, query).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(convert::audit_response(page, &tokens)))
    }

    async fn verify_audit_chain(
        &self,
        request: Request<v1::VerifyAuditChainRequest>,
    ) -> Result<Response<v1::VerifyAuditChainResponse>, Status> {
        let acting = acting(&self.admin, &request, "", VERIFY).await?;
        let verified = self.admin.verify_audit(&acting).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(convert::verified(verified)))
    }
}
