//! `pilotgate.admin.v1.OutboxService`.

use tonic::{Request, Response, Status};

use super::{acting, acting_on};
use crate::{
    admin::Admin,
    api::{
        convert::{self, admin},
        status::of_undecided,
    },
    messaging::Messaging,
    proto::admin::v1::{self, outbox_service_server::OutboxService},
};

/// The service for messages that are not decided yet.
#[derive(Clone)]
pub struct OutboxApi {
    admin: Admin,
    messaging: Messaging,
}

impl OutboxApi {
    /// Over these use cases.
    pub const fn new(admin: Admin, messaging: Messaging) -> Self {
        Self { admin, messaging }
    }
}

#[tonic::async_trait]
impl OutboxService for OutboxApi {
    async fn list_pending(
        &self,
        request: Request<v1::ListPendingRequest>,
    ) -> Result<Response<v1::ListPendingResponse>, Status> {
        let acting = acting(&self.admin, &request, "", ("outbox.list", "outbox/pending")).await?;
        let (query, tokens) = admin::undecided_query(request.into_inner(), &self.admin.keys, &self.admin.page_key())?;
        let page = self.messaging.undecided(&acting, query).await.map_err(|error| of_undecided(&error.into()))?;
        Ok(Response::new(admin::undecided_page(page, &tokens)))
    }

    async fn retry_message(
        &self,
        request: Request<v1::RetryMessageRequest>,
    ) -> Result<Response<v1::RetryMessageResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "outbox.retry", |asked| ("message", &asked.message_id, &asked.reason))
                .await?;
        let v1::RetryMessageRequest { message_id, reason } = request.into_inner();
        let id = admin::undecided_id(&message_id, &reason, admin::Reason::Optional)?;
        let undecided = self.messaging.hasten(&acting, id).await.map_err(|error| of_undecided(&error))?;
        Ok(Response::new(v1::RetryMessageResponse { message: Some(admin::undecided(undecided)) }))
    }

    async fn discard_message(
        &self,
        request: Request<v1::DiscardMessageRequest>,
    ) -> Result<Response<v1::DiscardMessageResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "outbox.discard", |asked| ("message", &asked.message_id, &asked.reason))
                .await?;
        let v1::DiscardMessageRequest { message_id, reason } = request.into_inner();
        let id = admin::undecided_id(&message_id, &reason, admin::Reason::Required)?;
        let message = self.messaging.discard(&acting, id).await.map_err(|error| of_undecided(&error))?;
        Ok(Response::new(v1::DiscardMessageResponse { message: Some(convert::message(message)) }))
    }

    async fn resolve_in_doubt(
        &self,
        request: Request<v1::ResolveInDoubtRequest>,
    ) -> Result<Response<v1::ResolveInDoubtResponse>, Status> {
        let acting =
            acting_on(&self.admin, &request, "outbox.resolve", |asked| ("message", &asked.message_id, &asked.reason))
                .await?;
        let (id, resolution) = admin::resolution(request.into_inner())?;
        let message = self.messaging.resolve(&acting, id, resolution).await.map_err(|error| of_undecided(&error))?;
        Ok(Response::new(v1::ResolveInDoubtResponse { message: Some(convert::message(message)) }))
    }
}
