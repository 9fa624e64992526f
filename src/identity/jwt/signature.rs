//! Checking signatures with ring, which checks those of TLS as well, so that the gateway has one crypto library. What is checked
//! and which key is the right one stays with the caller.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{Error as Refused, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// Checks public-key signatures, and makes none.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Check::of(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// To be called before the first token is checked. The first one in the process counts, and all are the same.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

/// A key, and what it is used for.
struct Check {
    algorithm: Algorithm,
    by: By,
}

enum By {
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    /// A point of a curve.
    Point(UnparsedPublicKey<Vec<u8>>),
}

impl Check {
    /// A key of another kind than the algorithm's is refused, and so are shared secrets.
    fn of(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        let wrong = || Error::from(ErrorKind::InvalidKeyFormat);
        let rsa = |parameters: &'static RsaParameters| match (key.family(), key.kind()) {
            (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                Ok(By::Rsa(parameters, RsaPublicKeyComponents { n: n.clone(), e: e.clone() }))
            }
            _ => Err(wrong()),
        };
        let point = |family, by: &'static dyn VerificationAlgorithm| match key.kind() {
            DecodingKeyKind::SecretOrDer(point) if key.family() == family => {
                Ok(By::Point(UnparsedPublicKey::new(by, point.clone())))
            }
            _ => Err(wrong()),
        };
        let by = match algorithm {
            Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => point(AlgorithmFamily::Ec, &ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => point(AlgorithmFamily::Ec, &ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => point(AlgorithmFamily::Ed, &ED25519),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        };
        Ok(Self { algorithm, by: by? })
    }
}

impl Verifier<Vec<u8>> for Check {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Refused> {
        let checked = match &self.by {
            By::Rsa(parameters, key) => key.verify(parameters, message, signature),
            By::Point(key) => key.verify(message, signature),
        };
        checked.map_err(|_| Refused::new())
    }
}

impl JwtVerifier for Check {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
