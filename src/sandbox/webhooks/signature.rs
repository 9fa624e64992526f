//! Owns the signature of a delivery: HMAC-SHA256 over the bytes sent.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const HEADER: &str = "x-pilot-status-signature";

/// Lower-case hex.
pub fn sign(secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length, so there is no failure to report.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn vector() {
        assert_eq!(
            super::sign("whsec-test-1", br#"{"event":"message.sent","data":{"id":"m1"}}"#),
            "9766366dbfd3f8e9a2f959f89c17e92e744d81b4e17687571a9fa373f097e1f8"
        );
    }
}
