//! `pilotgate.v1.InboxService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    connection::Connection,
    convert,
    messaging::principal,
    ready::{self, Nothing},
    status::of_follow,
};
use crate::{
    domain::sources::Sources,
    fanout::Fanout,
    identity::Identity,
    keys::KeyRing,
    proto::v1::{self, inbox_service_server::InboxService},
};

/// The service for what comes in at the numbers.
#[derive(Clone)]
pub struct InboxApi {
    fanout: Fanout,
    identity: Arc<Identity>,
    keys: Arc<KeyRing>,
    sources: Sources,
}

impl InboxApi {
    /// Over this log.
    pub const fn new(fanout: Fanout, identity: Arc<Identity>, keys: Arc<KeyRing>, sources: Sources) -> Self {
        Self { fanout, identity, keys, sources }
    }
}

#[tonic::async_trait]
impl InboxService for InboxApi {
    type StreamInboundEventsStream = Nothing<v1::StreamInboundEventsResponse>;

    async fn stream_inbound_events(
        &self,
        request: Request<v1::StreamInboundEventsRequest>,
    ) -> Result<Response<Self::StreamInboundEventsStream>, Status> {
        let (sight, standing) = self.identity.watch_inbox(&principal(&request)?);
        let (line, leave_at) = (Connection::line(&request), Connection::leave_at(&request, self.sources.chance()));
        let request = convert::inbox_request(request.into_inner(), sight, &self.keys, leave_at)?;
        let follow = self.fanout.follow(request).await.map_err(|error| of_follow(&error))?;
        Ok(ready::respond(follow.over(line).by(standing), convert::inbox_notice))
    }
}
