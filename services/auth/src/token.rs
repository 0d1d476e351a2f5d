//! The internal token: a JWT (RFC 7519) signed with Ed25519 (RFC 8037), and its public key as a JWK set.
//!
//! The key's seed is a file of mode 0600, made at the first start. Replicas that share the file sign alike.

use banyan_core::protocol::identity::{Claims, ISSUER};
use banyan_runtime::secrets;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;

use crate::session::SessionId;

const SEED_BYTES: usize = 32;
/// What precedes the seed in a PKCS#8 version 1 document of an Ed25519 key (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// What a token says.
pub struct Grant<'g> {
    /// The capability whose service accepts it.
    pub audience: &'g str,
    /// The user's id as decimal text.
    pub subject: &'g str,
    /// The session that proves it; only its keyed hash is told.
    pub session: &'g SessionId,
}

/// The signer.
pub struct Signer {
    key: EncodingKey,
    header: Header,
    public: Value,
    session_hash: Hmac<Sha256>,
    lifetime_s: u64,
}

impl Signer {
    /// Reads the seed from a file, or makes one. Tokens live `lifetime_s` seconds.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it, or it is not a seed.
    pub fn load(path: &Path, lifetime_s: u64) -> io::Result<Self> {
        Self::new(&secrets::load_or_create(path, SEED_BYTES)?, lifetime_s)
    }

    fn new(seed: &[u8], lifetime_s: u64) -> io::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("is not {SEED_BYTES} bytes")))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        // RFC 7638: the thumbprint is over these members, in this order.
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let public =
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig" });
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid);
        let key = EncodingKey::from_ed_der(&[&PKCS8_PREFIX, seed].concat());
        let mut session_hash = keyed(seed);
        session_hash.update(b"banyan session id");
        let session_hash = keyed(&session_hash.finalize().into_bytes());
        Ok(Self { key, header, public, session_hash, lifetime_s })
    }

    /// A token, valid from `now_s` (seconds since 1970) for the lifetime.
    pub fn sign(&self, grant: &Grant<'_>, now_s: u64) -> String {
        let claims = Claims {
            iss: ISSUER.into(),
            aud: grant.audience.into(),
            sub: grant.subject.into(),
            sid: self.session_hash(grant.session),
            amr: vec!["session".into()],
            iat: now_s,
            exp: now_s + self.lifetime_s,
        };
        encode(&self.header, &claims, &self.key).expect("the key was made from a seed of the right size")
    }

    /// The JWK set (RFC 7517).
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    fn session_hash(&self, session: &SessionId) -> String {
        let mut hash = self.session_hash.clone();
        hash.update(session.expose());
        URL_SAFE_NO_PAD.encode(&hash.finalize().into_bytes()[..16])
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

    fn session(letter: u8) -> SessionId {
        SessionId::parse(&[letter; 40]).unwrap()
    }

    #[test]
    fn the_public_key_is_that_of_the_rfc() {
        // RFC 8037, appendix A.1 to A.3.
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let signer = Signer::new(&seed, 120).unwrap();
        assert_eq!(signer.public["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(signer.public["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert!(Signer::new(&seed[1..], 120).is_err());
    }

    #[test]
    fn a_token_verifies_with_the_published_key_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.key");
        let signer = Signer::load(&path, 120).unwrap();
        let now_s = jsonwebtoken::get_current_timestamp();
        let token =
            signer.sign(&Grant { audience: "notifications", subject: "42", session: &session(b'a') }, now_s);

        let keys: JwkSet = serde_json::from_value(Signer::load(&path, 120).unwrap().jwks()).unwrap();
        let kid = decode_header(&token).unwrap().kid.unwrap();
        let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
        let mut wanted = Validation::new(Algorithm::EdDSA);
        wanted.set_audience(&["notifications"]);
        wanted.set_issuer(&[ISSUER]);
        let claims = decode::<Claims>(&token, &key, &wanted).unwrap().claims;
        assert_eq!((claims.sub.as_str(), claims.iat, claims.exp), ("42", now_s, now_s + 120));
        assert_eq!(claims.amr, ["session"]);
        wanted.set_audience(&["payments"]);
        assert!(decode::<Claims>(&token, &key, &wanted).is_err());
    }

    #[test]
    fn the_session_hash_tells_sessions_apart_and_not_their_ids() {
        let (one, other) = (Signer::new(&[1; 32], 120).unwrap(), Signer::new(&[2; 32], 120).unwrap());
        let hash = one.session_hash(&session(b'a'));
        assert_eq!(hash, one.session_hash(&session(b'a')));
        assert_ne!(hash, one.session_hash(&session(b'b')));
        assert_ne!(hash, other.session_hash(&session(b'a')));
        assert_eq!(hash.len(), 22);
    }
}
