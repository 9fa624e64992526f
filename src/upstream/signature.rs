//! The signature of a webhook: HMAC-SHA256 over the bytes as they came, in hexadecimal.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::secret::WebhookSecret;

/// The header that carries it.
pub const HEADER: &str = "x-pilot-status-signature";

/// A signature as presented.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Reads 64 hexadecimal digits of either case, with or without `sha256=` before them.
    pub fn from_header(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix("sha256=").unwrap_or(text);
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok().map(|()| Self(bytes))
    }
}

/// Whether the signature was made over `body` with one of the secrets. The comparison takes the same time whatever the
/// signature is.
pub fn verify(signature: &Signature, secrets: &[WebhookSecret], body: &[u8]) -> bool {
    secrets.iter().any(|secret| {
        Hmac::<Sha256>::new_from_slice(secret.expose())
            .is_ok_and(|mac| mac.chain_update(body).verify_slice(&signature.0).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const BODY: &[u8] = br#"{"event":"message.sent","data":{"id":"m1"}}"#;
    const HEX: &str = "9766366dbfd3f8e9a2f959f89c17e92e744d81b4e17687571a9fa373f097e1f8";

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::from_secret(SecretString::from(text)).unwrap()
    }

    fn verifies(header: &str, secrets: &[&str], body: &[u8]) -> bool {
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        Signature::from_header(header).is_some_and(|signature| verify(&signature, &secrets, body))
    }

    #[test]
    fn the_documented_vector_verifies_in_every_spelling() {
        assert!(verifies(HEX, &["whsec-test-1"], BODY));
        assert!(verifies(&format!("sha256={HEX}"), &["whsec-test-1"], BODY));
        assert!(verifies(&HEX.to_uppercase(), &["whsec-old", "whsec-test-1"], BODY));
    }

    #[test]
    fn anything_else_does_not() {
        assert!(!verifies(HEX, &["whsec-test-2"], BODY));
        assert!(!verifies(HEX, &["whsec-test-1"], br#"{"event":"message.sent","data":{"id":"m2"}}"#));
        assert!(!verifies(HEX, &[], BODY));
        assert!(!verifies(&HEX[..62], &["whsec-test-1"], BODY));
        assert!(!verifies("", &["whsec-test-1"], BODY));
    }
}
