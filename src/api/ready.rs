//! Streams of frames that are ready for the wire.
//!
//! The generated service encodes every response for itself. A method whose responses are encoded already answers with
//! `respond`: a stream of nothing, which [`Ready`], in front of the service, exchanges for the frames.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{
    future::{BoxFuture, MapOk, TryFutureExt},
    stream::{Empty, empty},
};
use http::{HeaderMap, Request};
use hyper::body::Frame as Part;
use prost::Message;
use tonic::{Response, Status, body::Body, server::NamedService};
use tower::Service;

use super::{convert::message_head, status::of_follow};
use crate::{
    domain::position::Position,
    fanout::{Cursors, Fingerprint, Follow, FollowError, Frame, Notice},
};

/// In place of responses that come ready.
pub(super) type Nothing<M> = Empty<Result<M, Status>>;

/// How a kind of stream tells a notice, given the place to resume behind.
pub(super) type Tell<M> = fn(Notice, Position, &Cursors, Fingerprint) -> M;

/// An answer with what this follower is given.
pub(super) fn respond<M: Message + 'static>(follow: Follow, tell: Tell<M>) -> Response<Nothing<M>> {
    let frames = Body::new(Frames { following: Following::AtHead(Box::new(follow)), tell });
    let mut response = Response::new(empty());
    response.extensions_mut().insert(Kept(Arc::new(Mutex::new(Some(frames)))));
    response
}

/// Holds a body on its way out through the generated service.
#[derive(Clone)]
struct Kept(Arc<Mutex<Option<Body>>>);

/// A service whose answers may be ready ones.
#[derive(Clone)]
pub struct Ready<S>(pub S);

impl<S: NamedService> NamedService for Ready<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Ready<S>
where
    S: Service<Request<B>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = MapOk<S::Future, fn(S::Response) -> S::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request).map_ok(exchange)
    }
}

fn exchange(mut response: http::Response<Body>) -> http::Response<Body> {
    if let Some(Kept(kept)) = response.extensions_mut().remove()
        && let Some(body) = kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    {
        *response.body_mut() = body;
    }
    response
}

/// A follower's frames, and how it ended.
struct Frames<M> {
    following: Following,
    tell: Tell<M>,
}

type Next = Option<Result<Frame, FollowError>>;

enum Following {
    /// It waits for entries, or begins.
    AtHead(Box<Follow>),
    /// It is on its way to the next frame.
    Busy(BoxFuture<'static, (Box<Follow>, Next)>),
    Ended,
}

impl<M: Message> hyper::body::Body for Frames<M> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Part<Bytes>, Status>>> {
        loop {
            match &mut self.following {
                Following::AtHead(follow) => {
                    if let Some(frames) = ready!(follow.poll_at_head(context)) {
                        return Poll::Ready(Some(Ok(Part::data(frames))));
                    }
                    self.following = match std::mem::replace(&mut self.following, Following::Ended) {
                        Following::AtHead(mut follow) => Following::Busy(Box::pin(async move {
                            let next = follow.next().await;
                            (follow, next)
                        })),
                        other => other,
                    };
                }
                Following::Busy(next) => {
                    let (follow, next) = ready!(next.as_mut().poll(context));
                    let part = self.part(&follow, next);
                    self.following = if part.is_trailers() { Following::Ended } else { Following::AtHead(follow) };
                    return Poll::Ready(Some(Ok(part)));
                }
                Following::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.following, Following::Ended)
    }
}

impl<M: Message> Frames<M> {
    fn part(&self, follow: &Follow, next: Next) -> Part<Bytes> {
        match next {
            Some(Ok(Frame::Events(frames))) => Part::data(frames),
            Some(Ok(Frame::Notice(notice))) => {
                let told = (self.tell)(notice, follow.position(), follow.cursors(), follow.filter().fingerprint());
                let mut frame = message_head(told.encoded_len()).to_vec();
                frame.extend(told.encode_to_vec());
                Part::data(Bytes::from(frame))
            }
            Some(Err(error)) => trailers(&of_follow(&error)),
            None => trailers(&Status::ok("")),
        }
    }
}

fn trailers(status: &Status) -> Part<Bytes> {
    let mut trailers = HeaderMap::new();
    // The code goes in before the texts, and is there whatever becomes of them.
    if let Err(error) = status.add_header(&mut trailers) {
        tracing::error!(%error, "the end of a stream could not be told in full");
    }
    Part::trailers(trailers)
}
