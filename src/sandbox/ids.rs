//! Owns chance: every id, key and dice roll of one double comes from here, so
//! that a seed makes a run repeatable. It owns no id's meaning.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::state::held;

const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

pub struct Chance(Mutex<StdRng>);

impl Chance {
    pub fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(match seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        }))
    }

    /// `length` lower-case base-36 characters.
    pub fn base36(&self, length: usize) -> String {
        let mut rng = held(&self.0);
        (0..length).map(|_| char::from(BASE36[rng.random_range(0..BASE36.len())])).collect()
    }

    /// Lower-case hex of `bytes` random bytes.
    pub fn hex(&self, bytes: usize) -> String {
        let mut raw = vec![0; bytes];
        held(&self.0).fill_bytes(&mut raw);
        hex::encode(raw)
    }

    /// A text of the form of a version 4 UUID.
    pub fn uuid(&self) -> String {
        let h = self.hex(16);
        format!("{}-{}-4{}-a{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..32])
    }

    /// A message id: the shape upstream shows (a cuid), not its algorithm.
    pub fn message_id(&self) -> String {
        format!("cm{}", self.base36(23))
    }

    /// True with the given probability; always true at 1.
    pub fn roll(&self, probability: f64) -> bool {
        probability >= 1.0 || held(&self.0).random::<f64>() < probability
    }

    /// A whole number in `low..=high`; `low` when the range is empty.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        held(&self.0).random_range(low..=high)
    }
}
