//! What a number's record says, before it is sealed and after it is opened.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    domain::{
        Invalid,
        ids::NumberName,
        quota::Quota,
        read_back::ReadBack,
        recipient::PhoneNumber,
        secret::{NumberKey, TokenHash, WebhookSecret, WebhookUrl},
    },
    keys::{Number, Pacing, Rotation, Source, WebhookDoor},
};

/// A record of a later format is not read.
const FORMAT: u32 = 1;

/// More than almost any record takes, so that none grows and leaves a shorter copy behind.
const ROOM: usize = 16 << 10;

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    create_time: Timestamp,
    update_time: Timestamp,
    key: &'a str,
    door: Option<WrittenDoor<'a>>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Serialize)]
struct WrittenDoor<'a> {
    path_token: TokenHash,
    secrets: Vec<&'a str>,
    url: Option<&'a str>,
}

#[derive(Deserialize)]
struct Read {
    format: u32,
    create_time: Timestamp,
    update_time: Timestamp,
    key: SecretString,
    door: Option<ReadDoor>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
struct ReadDoor {
    path_token: TokenHash,
    secrets: Vec<SecretString>,
    url: Option<SecretString>,
}

/// What holds no secret.
#[derive(Serialize, Deserialize)]
struct Rest {
    description: String,
    upstream_id: Option<String>,
    phone: Option<PhoneNumber>,
    generation: u32,
    key_time: Option<Timestamp>,
    rotate_every: Option<Duration>,
    rotation: Option<Rotation>,
    disabled: bool,
    per_second: Option<f64>,
    burst: u32,
    min_gap: Duration,
    gap_jitter: f64,
    quota: Quota,
    read_back: Option<ReadBack>,
}

/// The bytes to be sealed.
pub(crate) fn to_bytes(
    number: &Number,
    create_time: Timestamp,
    update_time: Timestamp,
) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let door = number.webhook.as_ref().map(|door| WrittenDoor {
        path_token: door.path_token,
        // Checked when it came in to be visible ASCII.
        secrets: door.secrets.iter().filter_map(|secret| std::str::from_utf8(secret.expose()).ok()).collect(),
        url: door.url.as_ref().map(WebhookUrl::expose),
    });
    let Pacing { per_second, burst, min_gap, gap_jitter } = number.pacing;
    let rest = Rest {
        description: number.description.clone(),
        upstream_id: number.upstream_id.clone(),
        phone: number.phone.clone(),
        generation: number.generation,
        key_time: number.key_time,
        rotate_every: number.rotate_every,
        rotation: number.rotation.clone(),
        disabled: number.disabled,
        per_second,
        burst,
        min_gap,
        gap_jitter,
        quota: number.quota,
        read_back: number.read_back,
    };
    let written = Written { format: FORMAT, create_time, update_time, key: number.key.expose(), door, rest };
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
    serde_json::to_writer(&mut *bytes, &written)?;
    Ok(bytes)
}

/// The number that opened bytes tell of.
pub(crate) fn from_bytes(name: NumberName, version: i64, bytes: &[u8]) -> Result<Number, Invalid> {
    // The texts of such errors name a place and at most a type, never what stands there.
    let read: Read = serde_json::from_slice(bytes).map_err(|error| {
        Invalid::because(format!("line {} column {} is not understood", error.line(), error.column()))
    })?;
    if read.format != FORMAT {
        return Err(Invalid::because(format!("format {} is not known to this pilotgate", read.format)));
    }
    let door = |door: ReadDoor| {
        let secrets = door.secrets.into_iter().map(WebhookSecret::from_secret).collect::<Result<_, _>>()?;
        let url = door.url.map(WebhookUrl::from_secret);
        Ok::<_, Invalid>(WebhookDoor { path_token: door.path_token, secrets, url })
    };
    let Read { rest, create_time, update_time, .. } = read;
    let Rest { per_second, burst, min_gap, gap_jitter, .. } = rest;
    Ok(Number {
        name,
        description: rest.description,
        upstream_id: rest.upstream_id,
        phone: rest.phone,
        key: NumberKey::from_secret(read.key)?,
        generation: rest.generation,
        key_time: rest.key_time,
        rotate_every: rest.rotate_every,
        rotation: rest.rotation,
        disabled: rest.disabled,
        webhook: read.door.map(door).transpose()?,
        pacing: Pacing { per_second, burst, min_gap, gap_jitter },
        quota: rest.quota,
        read_back: rest.read_back,
        source: Source::Stored { version, create_time, update_time },
    })
}
