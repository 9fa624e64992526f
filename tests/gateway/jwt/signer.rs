//! An issuer's keys, and what they sign.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, Header};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use serde_json::{Value, json};

/// A key of the issuer.
pub struct Signer {
    pub id: &'static str,
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub fn of(id: &'static str, algorithm: Algorithm) -> Self {
        let ec = |by: &'static EcdsaSigningAlgorithm, curve| {
            let random = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(by, &random).unwrap();
            Key::Ec(EcdsaKeyPair::from_pkcs8(by, document.as_ref(), &random).unwrap(), curve)
        };
        let rsa = |encoding| {
            let pem = include_str!("rsa.pem");
            let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let der = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
            Key::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).unwrap()), encoding)
        };
        let key = match algorithm {
            Algorithm::ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            Algorithm::ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            Algorithm::EdDSA => {
                let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
                Key::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
            }
            Algorithm::RS256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&RSA_PSS_SHA512),
            other => panic!("no key for {other:?}"),
        };
        Self { id, algorithm, key }
    }

    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        let mut jwk = match &self.key {
            Key::Rsa(pair, _) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            Key::Ec(pair, curve) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Key::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
        };
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(format!("{:?}", self.algorithm));
        jwk
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_under(Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) }, claims)
    }

    pub fn sign_under(&self, header: Header, claims: &Value) -> String {
        token(&header, claims, |message| {
            let random = SystemRandom::new();
            match &self.key {
                Key::Rsa(pair, encoding) => {
                    let mut signature = vec![0; pair.public().modulus_len()];
                    pair.sign(*encoding, &random, message, &mut signature).unwrap();
                    signature
                }
                Key::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
                Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            }
        })
    }
}

/// A token of a shared secret.
pub fn keyed(header: &Header, claims: &Value, secret: &[u8]) -> String {
    token(header, claims, |message| {
        let digest = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
        digest.chain_update(message).finalize().into_bytes().to_vec()
    })
}

fn token(header: &Header, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |json: String| BASE64.encode(json);
    let message = format!("{}.{}", part(serde_json::to_string(header).unwrap()), part(claims.to_string()));
    let signature = BASE64.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}
