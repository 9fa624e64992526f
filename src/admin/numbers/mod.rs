//! Numbers as they are stored: sealed whole, and put into the ring once that is on disk.

mod record;

use std::sync::Arc;

use super::{Admin, AdminError};
use crate::{
    domain::{
        audit::Act,
        ids::NumberName,
        record::{RecordKey, RecordKind, Source},
    },
    keys::{Exclusive, Number, Taken},
    store::{Change, Record, StoreError},
};

impl Admin {
    /// Seals a number, commits it with what the audit log says of it, and puts it into the ring. In the place of the version
    /// that the number names, or as a new one if it names none.
    pub async fn store_number(
        &self,
        right: &Exclusive,
        mut number: Number,
        audit: Vec<Act>,
    ) -> Result<Arc<Number>, AdminError> {
        self.keys.check(&number).map_err(|taken| AdminError::Taken(taken.to_string()))?;
        let now = self.sources.now();
        let (replaces, create_time) = match number.source {
            Source::Stored { version, create_time, .. } => (Some(version), create_time),
            Source::Declared => (None, now),
        };
        let bytes = record::to_bytes(&number, create_time, now).map_err(|error| failed(&error))?;
        let (record, replaces) = self.records.sealed(key_of(&number.name), replaces, &bytes)?;
        number.source = Source::Stored { version: record.version, create_time, update_time: now };
        self.records.change(Change { puts: vec![(record, replaces)], audit, ..Change::default() }).await?;
        self.keys.put(number, right).map_err(|taken: Taken| AdminError::Taken(taken.to_string()))?;
        let stored = self.keys.get(right.name());
        stored.ok_or_else(|| AdminError::NotFound(subject(right.name())))
    }

    /// Puts the numbers into the ring that are stored. One that cannot be read keeps no other from it.
    pub async fn load_numbers(&self) -> Result<(), AdminError> {
        for record in self.store.records().await? {
            if record.key.kind != RecordKind::Number {
                continue;
            }
            match self.number_of(&record) {
                Ok(number) => {
                    let right = self.keys.exclusive(&number.name).await;
                    self.keys.put(number, &right).map_err(|taken| AdminError::Taken(taken.to_string()))?;
                }
                Err(error) => tracing::error!(record = %record.key, %error, "the record of a number cannot be read"),
            }
        }
        Ok(())
    }

    fn number_of(&self, record: &Record) -> Result<Number, String> {
        let name = NumberName::from_text(&record.key.name).map_err(|error| error.to_string())?;
        let bytes = self.records.opened(record).map_err(|error| error.to_string())?;
        record::from_bytes(name, record.version, &bytes).map_err(|error| error.to_string())
    }
}

/// What the audit log and errors call a number.
pub(super) fn subject(name: &NumberName) -> String {
    key_of(name).to_string()
}

fn key_of(name: &NumberName) -> RecordKey {
    RecordKey::of(RecordKind::Number, name.as_str())
}

fn failed(error: &serde_json::Error) -> StoreError {
    StoreError::Failed(format!("a number cannot be written down: line {}", error.line()))
}
