//! `pilotgate.admin.v1.CallerService`.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{acting, acting_on};
use crate::{
    admin::{Admin, Issued},
    api::{convert::admin, status::of_admin},
    identity::Registered,
    proto::admin::v1::{self, caller_service_server::CallerService},
};

/// The service for callers.
#[derive(Clone)]
pub struct CallerApi {
    admin: Admin,
    lifetime: Option<Duration>,
}

impl CallerApi {
    /// Over these use cases. Tokens live for `lifetime` if nothing else is asked for; `None`: until they are revoked.
    pub const fn new(admin: Admin, lifetime: Option<Duration>) -> Self {
        Self { admin, lifetime }
    }

    fn told(&self, registered: &Registered) -> v1::Caller {
        admin::registered_caller(registered, self.admin.sources.now())
    }

    /// The token, its id and its caller.
    fn issued(&self, Issued { token, caller }: Issued) -> (String, String, v1::Caller) {
        let hash = token.hash();
        let id = caller.caller.tokens.iter().find(|token| token.hash == hash).map(|token| token.id.clone());
        (token.expose().to_owned(), id.unwrap_or_default(), self.told(&caller))
    }
}

#[tonic::async_trait]
impl CallerService for CallerApi {
    async fn create_caller(
        &self,
        request: Request<v1::CreateCallerRequest>,
    ) -> Result<Response<v1::CreateCallerResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.create", |asked| ("caller", &asked.name, &asked.reason)).await?;
        let caller = admin::new_caller(request.into_inner(), &self.admin.keys)?;
        let caller = self.admin.create_caller(&acting, caller).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::CreateCallerResponse { caller: Some(self.told(&caller)) }))
    }

    async fn get_caller(
        &self,
        request: Request<v1::GetCallerRequest>,
    ) -> Result<Response<v1::GetCallerResponse>, Status> {
        let acting = acting_on(&self.admin, &request, "caller.get", |asked| ("caller", &asked.name, "")).await?;
        let name = admin::caller_name(&request.get_ref().name)?;
        let listed = self.admin.get_caller(&acting, &name).await.map_err(|error| of_admin(&error))?;
        let caller = admin::caller(&listed, self.admin.sources.now());
        Ok(Response::new(v1::GetCallerResponse { caller: Some(caller) }))
    }

    async fn list_callers(
        &self,
        request: Request<v1::ListCallersRequest>,
    ) -> Result<Response<v1::ListCallersResponse>, Status> {
        let acting = acting(&self.admin, &request, "", ("caller.list", "callers")).await?;
        let (after, most, tokens) = admin::callers_query(request.get_ref(), &self.admin.page_key())?;
        let listed = self.admin.list_callers(&acting, after.as_ref(), most + 1).await;
        let page = admin::callers_page(listed, most, &tokens, self.admin.sources.now());
        Ok(Response::new(page))
    }

    async fn update_caller(
        &self,
        request: Request<v1::UpdateCallerRequest>,
    ) -> Result<Response<v1::UpdateCallerResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.update", |asked| ("caller", named(&asked.caller), &asked.reason))
                .await?;
        let ((name, etag), update) = admin::caller_update(request.into_inner())?;
        let caller = self.admin.update_caller(&acting, name, etag, update).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::UpdateCallerResponse { caller: Some(self.told(&caller)) }))
    }

    async fn disable_caller(
        &self,
        request: Request<v1::DisableCallerRequest>,
    ) -> Result<Response<v1::DisableCallerResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.disable", |asked| ("caller", &asked.name, &asked.reason)).await?;
        let v1::DisableCallerRequest { name, etag, reason } = request.into_inner();
        let (name, etag) = admin::which_caller(&name, &etag, &reason)?;
        let caller = self.admin.disable_caller(&acting, name, etag).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::DisableCallerResponse { caller: Some(self.told(&caller)) }))
    }

    async fn enable_caller(
        &self,
        request: Request<v1::EnableCallerRequest>,
    ) -> Result<Response<v1::EnableCallerResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.enable", |asked| ("caller", &asked.name, &asked.reason)).await?;
        let v1::EnableCallerRequest { name, etag, reason } = request.into_inner();
        let (name, etag) = admin::which_caller(&name, &etag, &reason)?;
        let caller = self.admin.enable_caller(&acting, name, etag).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::EnableCallerResponse { caller: Some(self.told(&caller)) }))
    }

    async fn delete_caller(
        &self,
        request: Request<v1::DeleteCallerRequest>,
    ) -> Result<Response<v1::DeleteCallerResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.delete", |asked| ("caller", &asked.name, &asked.reason)).await?;
        let v1::DeleteCallerRequest { name, etag, reason } = request.into_inner();
        let (name, etag) = admin::which_caller(&name, &etag, &reason)?;
        self.admin.delete_caller(&acting, name, etag).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::DeleteCallerResponse {}))
    }

    async fn issue_token(
        &self,
        request: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssueTokenResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.token.issue", |asked| ("caller", &asked.name, &asked.reason))
                .await?;
        let ((name, etag), lifetime) = admin::token_issue(request.get_ref())?;
        let issued = self.admin.issue_token(&acting, name, etag, lifetime.or(self.lifetime));
        let (token, token_id, caller) = self.issued(issued.await.map_err(|error| of_admin(&error))?);
        Ok(Response::new(v1::IssueTokenResponse { token, token_id, caller: Some(caller) }))
    }

    async fn rotate_token(
        &self,
        request: Request<v1::RotateTokenRequest>,
    ) -> Result<Response<v1::RotateTokenResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.token.rotate", |asked| ("caller", &asked.name, &asked.reason))
                .await?;
        let ((name, etag), grace, lifetime) = admin::token_rotation(request.get_ref())?;
        let (old, spans) = (&request.get_ref().token_id, (grace, lifetime.or(self.lifetime)));
        let issued = self.admin.rotate_token(&acting, name, etag, old, spans).await;
        let (token, token_id, caller) = self.issued(issued.map_err(|error| of_admin(&error))?);
        Ok(Response::new(v1::RotateTokenResponse { token, token_id, caller: Some(caller) }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.token.revoke", |asked| ("caller", &asked.name, &asked.reason))
                .await?;
        let (name, etag) = admin::token_revocation(request.get_ref())?;
        let revoked = self.admin.revoke_token(&acting, name, etag, &request.get_ref().token_id).await;
        let caller = revoked.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::RevokeTokenResponse { caller: Some(self.told(&caller)) }))
    }

    async fn set_grants(
        &self,
        request: Request<v1::SetGrantsRequest>,
    ) -> Result<Response<v1::SetGrantsResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "caller.grants.set", |asked| ("caller", &asked.name, &asked.reason))
                .await?;
        let ((name, etag), grants) = admin::new_grants(request.into_inner(), &self.admin.keys)?;
        let caller = self.admin.set_grants(&acting, name, etag, grants).await.map_err(|error| of_admin(&error))?;
        Ok(Response::new(v1::SetGrantsResponse { caller: Some(self.told(&caller)) }))
    }
}

fn named(caller: &Option<v1::Caller>) -> &str {
    caller.as_ref().map_or("", |caller| &caller.name)
}
