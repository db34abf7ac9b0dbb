//! Signatures of tokens, checked by ring: the library that TLS uses here as well, in place of
//! those that `jsonwebtoken` could bring along. Nothing is signed here.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, signature};
use ring::signature::{self as public, RsaPublicKeyComponents, UnparsedPublicKey};
use ring::{error::Unspecified, hmac};

/// Has to be there before the first token is looked at.
pub(super) fn install() {
    static RING: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        verifier_factory: verifier,
        // They are asked when keys are written, not when they are read.
        key_utils: KeyUtils::new_unimplemented(),
    };
    // Refused where it is there already.
    let _ = RING.install_default();
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the provider's signature"
)]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if algorithm.family() != key.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    let (algorithm, key) = (*algorithm, key.clone());
    Ok(Box::new(Verifier { algorithm, key }))
}

struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                self.verify_rsa(&RsaPublicKeyComponents { n, e }, message, signature)
            }
            DecodingKeyKind::SecretOrDer(key) => self.verify_bytes(key, message, signature),
        };
        verified.map_err(|Unspecified| signature::Error::new())
    }
}

impl Verifier {
    /// RFC 7518 §3.3, §3.5: keys of 2048 bits or more.
    fn verify_rsa(
        &self,
        key: &RsaPublicKeyComponents<&Vec<u8>>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Unspecified> {
        let parameters = match self.algorithm {
            Algorithm::RS256 => &public::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &public::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &public::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &public::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &public::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &public::RSA_PSS_2048_8192_SHA512,
            _ => return Err(Unspecified),
        };
        key.verify(parameters, message, signature)
    }

    /// A secret, a point on a curve, or an Ed25519 key.
    fn verify_bytes(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Unspecified> {
        let secret = |hash| hmac::verify(&hmac::Key::new(hash, key), message, signature);
        let public = |algorithm: &'static dyn public::VerificationAlgorithm| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature)
        };
        match self.algorithm {
            Algorithm::HS256 => secret(hmac::HMAC_SHA256),
            Algorithm::HS384 => secret(hmac::HMAC_SHA384),
            Algorithm::HS512 => secret(hmac::HMAC_SHA512),
            Algorithm::ES256 => public(&public::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => public(&public::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => public(&public::ED25519),
            _ => Err(Unspecified),
        }
    }
}
