//! Reads, on threads where waiting for a disk disturbs nobody.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::super::StoreError;

/// Connections for reading, each used by one read at a time.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
    /// Those who read along wait for each other here, so that there is always a connection for the others.
    along: Semaphore,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let free = Arc::new(Semaphore::new(connections.len()));
        let along = Semaphore::new((connections.len() / 2).max(1));
        Self { idle: Arc::new(Mutex::new(connections)), free, along }
    }

    /// The same for those who read the log, of whom there may be thousands at once.
    pub(super) async fn read_along<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.along.acquire().await;
        self.read(work).await
    }

    /// Runs `work` on a connection, in one transaction, so that all it reads is of one moment.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Failed("the store is closed".to_owned());
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| closed())?;
        let (idle, free) = (Arc::clone(&self.idle), Arc::clone(&self.free));
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let Some(mut db) = lock(&idle).pop() else { return Err(closed()) };
            let result = read_in_transaction(&mut db, work);
            let mut idle = lock(&idle);
            if !free.is_closed() {
                idle.push(db);
            }
            result
        })
        .await
        .unwrap_or(Err(StoreError::Unknown))
    }

    /// Refuses further reads and closes the idle connections; those in use close when their read ends.
    pub(super) fn close(&self) {
        self.free.close();
        lock(&self.idle).clear();
    }
}

fn read_in_transaction<T>(
    db: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let tx = db.transaction()?;
    let value = work(&tx)?;
    tx.finish()?;
    Ok(value)
}

/// A panic during a read leaves the list of connections whole, so poisoning carries no news.
fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
