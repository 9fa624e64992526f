//! Connections, as far as fan-out is concerned.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Waker},
};

/// The connection that a follower's frames go over.
///
/// A connection that is woken by each of its streams in turn writes once for each. So those who wake the streams wake the
/// connection as well, behind them: then it is not woken by any, and writes once for all.
#[derive(Clone, Debug, Default)]
pub struct Line(Arc<Mutex<Option<Waker>>>);

impl Line {
    /// Notes the task that serves the connection. To be called whenever it reads.
    pub fn note(&self, context: &Context<'_>) {
        let mut waker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    fn waker(&self) -> Option<Waker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells connections apart.
    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// Those to be woken, each with its connection if that is known.
#[derive(Default)]
pub(super) struct Woken(Vec<(Waker, Option<Line>)>);

impl Woken {
    pub(super) fn add(&mut self, waker: Waker, line: Option<Line>) {
        self.0.push((waker, line));
    }

    /// Wakes all of them, connection by connection.
    pub(super) fn wake(&mut self) {
        self.0.sort_by_key(|(_, line)| line.as_ref().map_or(0, Line::address));
        let mut order = Vec::with_capacity(self.0.len() + 16);
        let mut woken = self.0.drain(..).peekable();
        let (mut alone, mut connection_last) = (true, false);
        while let Some((waker, line)) = woken.next() {
            order.push(waker);
            connection_last = false;
            let Some(line) = line else { continue };
            let more =
                woken.peek().and_then(|(_, next)| next.as_ref()).is_some_and(|next| next.address() == line.address());
            if !more && !alone {
                order.extend(line.waker());
            }
            connection_last = !more && !alone;
            alone = !more;
        }
        // A worker goes on with the task that it woke last, before those that wait: that must be a stream.
        if connection_last && let [.., stream, connection] = &mut order[..] {
            std::mem::swap(stream, connection);
        }
        order.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    struct Noted(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn connections_are_woken_behind_their_streams_and_not_last() {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let waker = |name| Waker::from(Arc::new(Noted(name, Arc::clone(&noted))));
        let (first, second, third) = (Line::default(), Line::default(), Line::default());
        first.note(&Context::from_waker(&waker("first")));
        second.note(&Context::from_waker(&waker("second")));
        third.note(&Context::from_waker(&waker("third")));
        let mut woken = Woken::default();
        for (name, line) in [("1a", &first), ("2a", &second), ("3", &third), ("1b", &first), ("2b", &second)] {
            woken.add(waker(name), Some(line.clone()));
        }
        woken.add(waker("none"), None);
        woken.wake();
        let order = noted.lock().unwrap().clone();
        let place = |name| order.iter().position(|noted| *noted == name).unwrap();
        assert_eq!(order.len(), 8, "{order:?}");
        assert_eq!(order[0], "none");
        // It has a single stream, which wakes it.
        assert!(!order.contains(&"third"));
        for (connection, streams) in [("first", ["1a", "1b"]), ("second", ["2a", "2b"])] {
            assert!(place(streams[0]) < place(connection), "{order:?}");
            assert!(place(connection).abs_diff(place(streams[1])) == 1, "{order:?}");
        }
        assert!(!["first", "second"].contains(order.last().unwrap()), "{order:?}");
    }
}
