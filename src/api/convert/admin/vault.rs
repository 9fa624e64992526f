//! The vault.

use tonic::Status;

use super::{Reason, Violations, reason};
use crate::{
    admin::vault::{KeyUse, Origin, Unreadable, VaultState},
    proto::admin::v1,
    vault::KeyId,
};

/// The root key that whoever wants another one has seen.
pub(in crate::api) fn rotation(request: &v1::RotateRootKeyRequest) -> Result<Option<KeyId>, Status> {
    let mut wrong = Violations::default();
    reason(&mut wrong, &request.reason, Reason::Optional);
    let mut id = [0; 8];
    let seen = match request.etag.as_str() {
        "" => None,
        etag => match hex::decode_to_slice(etag, &mut id) {
            Ok(()) => Some(KeyId(id)),
            Err(_) => {
                wrong.add("etag", "must be the etag of an earlier answer");
                None
            }
        },
    };
    wrong.finish(Some(seen))
}

/// How the vault stands.
pub(in crate::api) fn vault(state: VaultState) -> v1::VaultStatus {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let used = |KeyUse { id, known, records, bodies }| v1::RootKeyUse {
        key_id: id.to_string(),
        known,
        records: count(records),
        bodies: count(bodies),
    };
    let unreadable =
        |Unreadable { place, error }| v1::UnreadablePlace { place: place.to_string(), description: error.to_string() };
    let origin = match state.origin {
        Origin::Kept => v1::RootKeyOrigin::Kept,
        Origin::Read => v1::RootKeyOrigin::Read,
        Origin::Fixed => v1::RootKeyOrigin::Fixed,
    };
    v1::VaultStatus {
        current_key_id: state.current.to_string(),
        origin: origin.into(),
        keys: state.keys.into_iter().map(used).collect(),
        resealing: state.resealing,
        unreadable: state.unreadable.into_iter().map(unreadable).collect(),
        etag: state.current.to_string(),
    }
}
