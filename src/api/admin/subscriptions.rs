//! `pilotgate.admin.v1.SubscriptionService`.

use tonic::{Request, Response, Status};

use super::acting;
use crate::{
    admin::Admin,
    api::{
        convert::admin,
        status::{of_seek, of_store},
    },
    fanout::Fanout,
    proto::admin::v1::{self, subscription_service_server::SubscriptionService},
};

/// The service for the named subscriptions of all callers.
#[derive(Clone)]
pub struct SubscriptionApi {
    admin: Admin,
    fanout: Fanout,
}

impl SubscriptionApi {
    /// Over this log.
    pub const fn new(admin: Admin, fanout: Fanout) -> Self {
        Self { admin, fanout }
    }
}

#[tonic::async_trait]
impl SubscriptionService for SubscriptionApi {
    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let acting = acting(&self.admin, &request, "", ("subscription.list", "subscriptions")).await?;
        let (query, tokens) = admin::subscriptions_query(request.into_inner(), &self.admin.page_key())?;
        let most = query.limit;
        let states = self.fanout.subscriptions(&acting, query).await.map_err(|error| of_store(&error))?;
        Ok(Response::new(admin::subscriptions_page(states, most, &tokens)))
    }

    async fn seek_subscription(
        &self,
        request: Request<v1::SeekSubscriptionRequest>,
    ) -> Result<Response<v1::SeekSubscriptionResponse>, Status> {
        let asked = request.get_ref();
        let subject = format!("subscription/{}/{}", asked.caller, asked.name);
        let acting = acting(&self.admin, &request, &asked.reason, ("subscription.seek", &subject)).await?;
        let (key, start) = admin::seek(request.into_inner())?;
        let state = self.fanout.seek(&acting, &key, start).await.map_err(|error| of_seek(&error))?;
        Ok(Response::new(v1::SeekSubscriptionResponse { subscription: Some(admin::subscription(state)) }))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        let asked = request.get_ref();
        let subject = format!("subscription/{}/{}", asked.caller, asked.name);
        let acting = acting(&self.admin, &request, &asked.reason, ("subscription.delete", &subject)).await?;
        let key = admin::unsubscribe(request.into_inner())?;
        self.fanout.unsubscribe(&acting, &key).await.map_err(|error| of_seek(&error))?;
        Ok(Response::new(v1::DeleteSubscriptionResponse {}))
    }
}
