//! How far a watcher got, and where that is remembered.
//!
//! Owns the last cursor and its keeping, in a file or in a subscription of the gateway. It is kept only after the
//! update has been printed: at worst an update comes twice after a crash, and none is lost. Called by `follow`.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tonic::Request;

use crate::{
    cli::{
        connect::Client,
        errors::{CliError, NO_ANSWER, Refusal},
    },
    proto::v1::CommitCursorRequest,
};

// A gateway that does not answer must not hold up the updates.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);

/// The cursor to resume after.
#[derive(Debug)]
pub struct Progress {
    cursor: Option<String>,
    kept: Option<String>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Nowhere,
    File(PathBuf),
    Subscription(String),
}

impl Progress {
    /// Remembered only while the command runs.
    pub fn forgotten() -> Self {
        Self { cursor: None, kept: None, place: Place::Nowhere }
    }

    /// Remembered in a file; starts with the cursor that the file holds, if it is there.
    ///
    /// # Errors
    /// [`CliError::Local`] if the file is there but cannot be read.
    pub fn in_file(path: PathBuf) -> Result<Self, CliError> {
        let cursor = match fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().to_owned()).filter(|it| !it.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let text = format!("cannot read the cursor file {}: {error}", path.display());
                return Err(CliError::Local(text));
            }
        };
        Ok(Self { kept: cursor.clone(), cursor, place: Place::File(path) })
    }

    /// Remembered by the gateway under this name.
    pub fn in_subscription(name: String) -> Self {
        Self { cursor: None, kept: None, place: Place::Subscription(name) }
    }

    /// The cursor to resume after; none before the first frame.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Everything up to `cursor` has been printed.
    pub fn advance(&mut self, cursor: String) {
        self.cursor = Some(cursor);
    }

    /// Keeps the cursor where it is to be remembered, unless it is kept already.
    ///
    /// # Errors
    /// [`CliError::Local`] for the file, the gateway's refusal for a subscription. A gateway that is away is no
    /// error: the next keeping covers this one.
    pub async fn keep(&mut self, client: &mut Client) -> Result<(), CliError> {
        let Some(cursor) = self.cursor.clone().filter(|it| Some(it) != self.kept.as_ref()) else {
            return Ok(());
        };
        match &self.place {
            Place::Nowhere => {}
            // Written without an await, so that Ctrl-C cannot come between an update and its cursor.
            Place::File(path) => write_atomically(path, &cursor).map_err(|error| {
                let text = format!("cannot write the cursor file {}: {error}", path.display());
                CliError::Local(text)
            })?,
            Place::Subscription(name) => {
                let commit = CommitCursorRequest { subscription: name.clone(), cursor: cursor.clone() };
                let mut call = Request::new(commit);
                call.set_timeout(COMMIT_PATIENCE);
                match client.commit_cursor(call).await.map_err(Refusal::from) {
                    Ok(_) => {}
                    Err(refusal) if refusal.is_unavailable() || refusal.reason == NO_ANSWER => return Ok(()),
                    Err(refusal) => return Err(refusal.into()),
                }
            }
        }
        self.kept = Some(cursor);
        Ok(())
    }
}

/// A reader finds the old cursor or the new one, never a part.
fn write_atomically(path: &Path, cursor: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(fresh, "{cursor}")?;
    fresh.as_file().sync_all()?;
    fresh.persist(path)?;
    Ok(())
}
