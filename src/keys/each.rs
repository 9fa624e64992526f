//! One task for each number, for as long as the number is registered.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::KeyRing;
use crate::domain::ids::NumberName;

/// Runs a task for each number that is registered and for each that will be, and breaks it off when the number goes and once
/// `draining`; none runs any more when this returns. The task must bear to be broken off wherever it waits.
pub async fn for_each<F>(keys: Arc<KeyRing>, draining: CancellationToken, task: impl Fn(NumberName) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut changes = keys.changes();
    let mut tasks = JoinSet::new();
    let mut running: HashMap<NumberName, AbortHandle> = HashMap::new();
    let follow = async {
        loop {
            // Marked as seen before the look, so that what changes after it is a change.
            changes.borrow_and_update();
            let names: HashSet<NumberName> = keys.names().into_iter().collect();
            running.retain(|name, task| {
                let stays = names.contains(name);
                if !stays {
                    task.abort();
                }
                stays
            });
            for name in names {
                running.entry(name.clone()).or_insert_with(|| tasks.spawn(task(name)));
            }
            while let Some(ended) = tokio::select! {
                _ = changes.changed() => None,
                Some(ended) = tasks.join_next_with_id() => Some(ended),
            } {
                forget(&mut running, ended);
            }
        }
    };
    draining.run_until_cancelled(follow).await;
    tasks.shutdown().await;
}

/// A task that has ended by itself runs again from the next change on.
fn forget(running: &mut HashMap<NumberName, AbortHandle>, ended: Result<(Id, ()), JoinError>) {
    let id = match &ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    };
    let name = running.iter().find(|(_, task)| task.id() == id).map(|(name, _)| name.clone());
    if let Some(name) = name {
        running.remove(&name);
        if let Err(error) = ended {
            tracing::error!(number = %name, %error, "what is done for a number by itself has failed");
        }
    }
}
