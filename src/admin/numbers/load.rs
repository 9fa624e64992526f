//! What is stored, at start.

use super::{Admin, Unreadable, key_of, record};
use crate::{
    admin::AdminError,
    domain::{ids::NumberName, record::RecordKind},
    keys::{Number, Source, WebhookDoor},
    store::Record,
};

impl Admin {
    /// Puts into the ring what is stored: the account-wide key, and the numbers. One that cannot be read keeps no other from
    /// it. A number that the configuration declares as well, or whose words it gives to another one, is an error: nobody
    /// could tell which of the two a caller means.
    pub async fn load_numbers(&self) -> Result<(), AdminError> {
        for record in self.store.records().await? {
            match record.key.kind {
                RecordKind::Number => self.load_number(&record).await?,
                RecordKind::TenantKey => self.load_tenant_key(&record).await,
                RecordKind::Caller | RecordKind::DigestKey | RecordKind::RootKey => {}
            }
        }
        Ok(())
    }

    async fn load_number(&self, record: &Record) -> Result<(), AdminError> {
        let number = match self.number_of(record) {
            Ok(number) => number,
            Err(why) => {
                tracing::error!(record = %record.key, %why, "the record of a number cannot be read; it does not send");
                let unreadable = Unreadable { name: record.key.name.clone(), version: record.version, why };
                self.beside.unreadable().insert(record.key.name.clone(), unreadable);
                return Ok(());
            }
        };
        let (name, key) = (number.name.clone(), key_of(number.name.as_str()));
        if self.keys.get(&name).is_some_and(|other| other.source == Source::Declared) {
            let text = format!(
                "{key} is registered in the store and declared in the configuration as well; take it out of the \
                 configuration, or start without it there, delete the registered one and declare it again"
            );
            return Err(AdminError::Taken(text));
        }
        let right = self.keys.exclusive(&name).await;
        self.keys.put(number, &right).map_err(|taken| {
            AdminError::Taken(format!("{key} is registered in the store, and {taken}; change the configuration"))
        })
    }

    fn number_of(&self, record: &Record) -> Result<Number, String> {
        let name = NumberName::from_text(&record.key.name).map_err(|error| error.to_string())?;
        let bytes = self.records.opened(record).map_err(|error| error.to_string())?;
        let number = record::from_bytes(name, record.version, &bytes).map_err(|error| error.to_string())?;
        // The gateway may be reached at another address than when this was written.
        let webhook = number.webhook.map(|WebhookDoor { path_token, secrets, url }| {
            let url = url.map(|url| self.beside.moved(url));
            WebhookDoor { path_token, secrets, url }
        });
        Ok(Number { webhook, ..number })
    }
}
