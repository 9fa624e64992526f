//! Whether what a webhook tells is taken at its word.

use serde::{Deserialize, Serialize};

/// Which statuses told by webhook are only claims, and count once they have been read back from Pilot Status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadBack {
    /// None: the signature, or the path that nobody else knows, is the proof.
    #[default]
    Never,
    /// CANCELED, FAILED, DELIVERED and READ.
    Terminal,
    /// All.
    Always,
}
