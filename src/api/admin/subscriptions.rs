//! `pilotgate.admin.v1.SubscriptionService`.

use tonic::{Request, Response, Status};

use super::{
    super::status::{of_seek, of_store},
    Administrators,
};
use crate::{
    api::convert::admin,
    fanout::Fanout,
    proto::admin::v1::{self, subscription_service_server::SubscriptionService},
};

/// The service for the named subscriptions of all callers.
#[derive(Clone)]
pub struct SubscriptionApi {
    administrators: Administrators,
    fanout: Fanout,
}

impl SubscriptionApi {
    /// Over this log.
    pub const fn new(administrators: Administrators, fanout: Fanout) -> Self {
        Self { administrators, fanout }
    }
}

#[tonic::async_trait]
impl SubscriptionService for SubscriptionApi {
    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let acting = self.administrators.prove(&request, "").await?;
        let (query, tokens) = admin::subscriptions_query(request.into_inner(), self.administrators.page_key())?;
        let most = query.limit;
        let states = self.fanout.subscriptions(&acting, query).await.map_err(|error| of_store(&error))?;
        Ok(Response::new(admin::subscriptions_page(states, most, &tokens)))
    }

    async fn seek_subscription(
        &self,
        request: Request<v1::SeekSubscriptionRequest>,
    ) -> Result<Response<v1::SeekSubscriptionResponse>, Status> {
        let acting = self.administrators.prove(&request, &request.get_ref().reason).await?;
        let (key, start) = admin::seek(request.into_inner())?;
        let state = self.fanout.seek(&acting, &key, start).await.map_err(|error| of_seek(&error))?;
        Ok(Response::new(v1::SeekSubscriptionResponse { subscription: Some(admin::subscription(state)) }))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        let acting = self.administrators.prove(&request, &request.get_ref().reason).await?;
        let key = admin::unsubscribe(request.into_inner())?;
        self.fanout.unsubscribe(&acting, &key).await.map_err(|error| of_seek(&error))?;
        Ok(Response::new(v1::DeleteSubscriptionResponse {}))
    }
}
