//! Connections of callers: bounded in number, and none that never says anything.
//!
//! The HTTP/2 server takes whatever it is given and asks nothing of a peer before the peer has introduced itself. So
//! that is waited for here, for a while, and TLS is agreed on before it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::tls::{self, Tls};
use crate::{
    api::{Connection, End},
    fanout::Line,
};

/// How long a peer may take to agree on TLS and to introduce itself.
const INTRODUCTION: Duration = Duration::from_secs(10);

/// Bytes with which every HTTP/2 client begins.
const PREFACE: usize = 24;

/// How long to wait after the system would not accept, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that holds its place as long as it is open.
pub(super) struct Held {
    wire: Wire,
    line: Line,
    /// The names that the other side has proven.
    certificate: Arc<[String]>,
    end: Option<End>,
    _place: OwnedSemaphorePermit,
}

/// After so many times the grace a connection is broken off, whatever goes on: by then only those are left who take nothing
/// and would keep their place for ever.
const LAST: u32 = 10;

impl Held {
    fn of(wire: Wire, certificate: Arc<[String]>, age: Option<Age>, place: OwnedSemaphorePermit) -> Self {
        let end = age.map(|age| End { at: Instant::now() + age.longest, grace: age.grace });
        Self { wire, line: Line::default(), certificate, end, _place: place }
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end.at + end.grace.saturating_mul(LAST))
    }
}

/// What the bytes go over.
enum Wire {
    Plain(TcpStream),
    /// With what was read of it already.
    Tls(Box<TlsStream<TcpStream>>, Bytes),
}

/// How old a connection may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age {
    /// Before the other side is told to open another one.
    pub(super) longest: Duration,
    /// Within what time after that streams end.
    pub(super) grace: Duration,
}

/// The connections, each once it has introduced itself, dealt out in turn: a stream of them for each age. Accepting ends
/// when the streams are dropped.
pub(super) fn connections(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    most: usize,
    ages: &[Option<Age>],
) -> Vec<impl Stream<Item = io::Result<Held>> + use<>> {
    let (ready, streams): (Vec<_>, _) = ages.iter().map(|age| of_age(*age)).unzip();
    tokio::spawn(accept(listener, tls, Arc::new(Semaphore::new(most)), ready));
    streams
}

/// A stream, and where its connections come from.
fn of_age(age: Option<Age>) -> ((mpsc::Sender<Held>, Option<Age>), impl Stream<Item = io::Result<Held>> + use<>) {
    let (ready, connections) = mpsc::channel(64);
    let stream = stream::unfold(connections, |mut connections| async move {
        let held = connections.recv().await?;
        Some((Ok(held), connections))
    });
    ((ready, age), stream)
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    places: Arc<Semaphore>,
    ages: Vec<(mpsc::Sender<Held>, Option<Age>)>,
) {
    for (ready, age) in ages.iter().cycle() {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = ready.closed() => return,
        };
        let (socket, place) = match (accepted, place) {
            (Ok((socket, _)), Ok(place)) => (socket, place),
            (Err(error), _) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
            (_, Err(_)) => return,
        };
        let (ready, age, tls) = (ready.clone(), *age, tls.clone());
        tokio::spawn(async move {
            let begun = async {
                // Nagle's algorithm would hold back each answer for tens of milliseconds.
                socket.set_nodelay(true)?;
                match tls {
                    None => introduction(&socket).await.map(|()| (Wire::Plain(socket), Arc::default())),
                    Some(tls) => agreed(&tls, socket).await,
                }
            };
            match timeout(INTRODUCTION, begun).await {
                Ok(Ok((wire, certificate))) => {
                    // The other end is gone only when the port is closing.
                    let _ = ready.send(Held::of(wire, certificate, age, place)).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a connection did not come about"),
                Err(_) => tracing::debug!("a connection took too long to introduce itself"),
            }
        });
    }
}

/// Agrees on TLS and waits for the first bytes within it.
async fn agreed(tls: &Tls, socket: TcpStream) -> io::Result<(Wire, Arc<[String]>)> {
    let mut stream = Box::new(tls.acceptor().accept(socket).await?);
    let certificate = tls::names(stream.get_ref().1.peer_certificates())?;
    let mut preface = [0; PREFACE];
    stream.read_exact(&mut preface).await?;
    Ok((Wire::Tls(stream, Bytes::copy_from_slice(&preface)), certificate))
}

/// Waits for the first bytes and leaves them where they are.
async fn introduction(socket: &TcpStream) -> io::Result<()> {
    let mut preface = [0; PREFACE];
    loop {
        match socket.peek(&mut preface).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            PREFACE => return Ok(()),
            // Bytes that are there already would be told of again and again.
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}

impl Connected for Held {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        let socket = match &self.wire {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream, _) => stream.get_ref().0,
        };
        Connection {
            line: self.line.clone(),
            end: self.end,
            peer: socket.peer_addr().ok().map(|peer| peer.ip()),
            certificate: Arc::clone(&self.certificate),
        }
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Whoever is there answers pings, so that this is looked at.
        if self.is_over() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.line.note(context);
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_read(context, into),
            Wire::Tls(stream, begun) if begun.is_empty() => Pin::new(stream).poll_read(context, into),
            Wire::Tls(_, begun) => {
                let part = begun.split_to(begun.len().min(into.remaining()));
                into.put_slice(&part);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_write(context, from),
            Wire::Tls(stream, _) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(context),
            Wire::Tls(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Wire::Tls(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }

    /// Of parts that it cannot write at once, HTTP/2 puts the small ones together: the frames of many streams go out in
    /// one write. The others would take a write each.
    fn is_write_vectored(&self) -> bool {
        false
    }
}
