//! A caller as it is sealed.

use serde::{Deserialize, Serialize};

use crate::{
    admin::AdminError,
    domain::{caller::Caller, record::RecordKey},
    store::StoreError,
    vault::UnsealError,
};

/// Of the fields below.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    caller: &'a Caller,
}

#[derive(Deserialize)]
struct Read {
    format: u32,
    caller: Caller,
}

/// The bytes to be sealed.
pub(super) fn to_bytes(caller: &Caller) -> Result<Vec<u8>, AdminError> {
    let written = serde_json::to_vec(&Written { format: FORMAT, caller });
    written.map_err(|error| StoreError::Failed(error.to_string()).into())
}

/// The caller of a record that was opened.
pub(super) fn from_bytes(key: &RecordKey, bytes: &[u8]) -> Result<Caller, UnsealError> {
    match serde_json::from_slice(bytes) {
        Ok(Read { format: FORMAT, caller }) if caller.name.as_str() == &*key.name => Ok(caller),
        Ok(_) | Err(_) => Err(UnsealError::Damaged),
    }
}
