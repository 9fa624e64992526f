//! The one thread that writes. Whatever waits when it comes round shares one commit.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    super::{FirstChecks, Options, StoreError, Written},
    checks::News,
    file::DataDirectory,
    log::Tail,
    recent::Recent,
};
use crate::domain::position::Position;

/// What a write works on: the open transaction and the end of the log as this transaction sees it.
pub(super) struct Writing<'a> {
    pub(super) db: &'a Connection,
    pub(super) tail: &'a mut Tail,
    /// What was learned of the message at hand and is not saved yet.
    pub(super) news: News,
    pub(super) first_checks: FirstChecks,
}

/// The way to the thread.
pub(super) struct Writer {
    queue: mpsc::Sender<Command>,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count {
    writes: AtomicU64,
    commits: AtomicU64,
}

enum Command {
    Write(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// A write that can be run again, because a batch that fails is run once more, write by write.
trait Job: Send {
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), StoreError>;
    fn fail(&mut self, error: StoreError);
    fn answer(self: Box<Self>);
}

struct Pending<T, F> {
    work: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnMut(&mut Writing<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), StoreError> {
        let value = (self.work)(writing)?;
        self.result = Some(Ok(value));
        Ok(())
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        // Whoever asked may have gone; the write stands all the same.
        let _ = self.reply.send(self.result.unwrap_or(Err(StoreError::Unknown)));
    }
}

impl Writer {
    /// Starts the thread. It ends when closed or when the last handle is gone.
    pub(super) fn spawn(
        db: Connection,
        tail: Tail,
        published: (Recent, watch::Sender<Position>),
        options: &Options,
        directory: Arc<DataDirectory>,
    ) -> io::Result<Self> {
        let (queue, commands) = mpsc::channel(options.write_queue.max(1));
        let most = options.commit_batch.max(1);
        let (recent, head) = published;
        let first_checks = options.checks;
        let count = Arc::new(Count::default());
        let counted = Arc::clone(&count);
        thread::Builder::new().name("pilotgate-store".to_owned()).spawn(move || {
            let closing = Thread { db, tail, recent, head, count: counted, first_checks }.serve(commands, most);
            // The lock goes before the answer, so that whoever waited for the end can open the directory again.
            drop(directory);
            if let Some(done) = closing {
                let _ = done.send(());
            }
        })?;
        Ok(Self { queue, count })
    }

    /// Runs `work` in a transaction and returns when it is on disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending { work, result: None, reply });
        self.queue.send(Command::Write(job)).await.map_err(|_| StoreError::Failed("the store is closed".to_owned()))?;
        answer.await.unwrap_or(Err(StoreError::Unknown))
    }

    pub(super) fn written(&self) -> Written {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Written { writes: read(&self.count.writes), commits: read(&self.count.commits) }
    }

    /// Finishes what is queued, then ends the thread.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

struct Thread {
    db: Connection,
    tail: Tail,
    recent: Recent,
    head: watch::Sender<Position>,
    count: Arc<Count>,
    first_checks: FirstChecks,
}

impl Thread {
    /// Serves until closed; returns whom to tell.
    fn serve(mut self, mut commands: mpsc::Receiver<Command>, most: usize) -> Option<oneshot::Sender<()>> {
        let mut closing = None;
        let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(most);
        while let Some(command) = commands.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next {
                match command {
                    Command::Write(job) => batch.push(job),
                    Command::Close(done) => {
                        commands.close();
                        closing = Some(done);
                    }
                }
                next = if batch.len() < most { commands.try_recv().ok() } else { None };
            }
            self.commit(&mut batch);
        }
        closing
    }

    fn commit(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        if self.transact(batch).is_err() {
            // One write can spoil a batch, by a damaged row for example. Alone, it spoils only itself.
            for job in batch.iter_mut() {
                if let Err(error) = self.transact(std::slice::from_mut(job)) {
                    tracing::error!(%error, "a write to the store failed");
                    job.fail(error);
                }
            }
        }
        // The entries before the news of them: whoever is woken finds them.
        self.recent.extend(&mut self.tail.appended);
        self.recent.trim(self.tail.trimmed);
        let head = self.tail.head();
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
        for job in batch.drain(..) {
            job.answer();
        }
    }

    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let mut tail = self.tail.clone();
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in &mut *jobs {
            let news = News::default();
            job.run(&mut Writing { db: &tx, tail: &mut tail, news, first_checks: self.first_checks })?;
        }
        tx.commit()?;
        self.count.writes.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        self.count.commits.fetch_add(1, Ordering::Relaxed);
        self.tail = tail;
        Ok(())
    }
}
