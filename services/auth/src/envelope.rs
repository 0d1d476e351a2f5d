//! Laravel's encrypter, decryption only (`Illuminate\Encryption\Encrypter`, AES-256-CBC with HMAC-SHA256),
//! and the prefix that binds a cookie's value to its name (`Illuminate\Cookie\CookieValuePrefix`).
//!
//! The MAC is checked, in constant time, before anything is decrypted. Whatever fails is refused with a
//! reason for the metrics; clients never learn which one. AEAD envelopes (`AES-256-GCM`) are refused.

use crate::base64_lenient;
use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use hmac::Hmac;
use serde::Deserialize;
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The longest envelope that is read, in bytes; browsers keep at most 4096 a cookie.
pub const ENVELOPE_BYTES_MAX: usize = 16 << 10;

const KEY_BYTES: usize = 32;
const IV_BYTES: usize = 16;

/// Why an envelope was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not an envelope: not base64, not JSON, parts missing or of the wrong size.
    Shape,
    /// An envelope of an AEAD cipher, which this version does not read.
    Aead,
    /// The MAC is not that of this key.
    Mac,
    /// The MAC is right and the text is not: it cannot be decrypted, or belongs to a cookie of another name.
    Content,
}

/// Laravel's application key.
#[derive(Clone)]
pub struct AppKey([u8; KEY_BYTES]);

#[derive(Deserialize)]
struct Envelope {
    iv: String,
    value: String,
    mac: String,
    #[serde(default)]
    tag: Option<String>,
}

impl AppKey {
    /// Reads `APP_KEY` as Laravel does: base64 after the prefix `base64:`, else the bytes of the text.
    ///
    /// # Errors
    /// Says what is wrong, without the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix("base64:") {
            Some(encoded) => STANDARD
                .decode(encoded.trim())
                .map_err(|_| "is not base64 after the prefix `base64:`".to_owned())?,
            None => text.as_bytes().to_vec(),
        };
        let length = bytes.len();
        let key = bytes
            .try_into()
            .map_err(|_| format!("holds {length} bytes; {KEY_BYTES} are needed: Banyan reads AES-256-CBC"))?;
        Ok(Self(key))
    }

    /// Decrypts the value of the cookie of this name.
    ///
    /// # Errors
    /// The reason for which Laravel, too, would take the cookie as absent.
    pub fn open_cookie(&self, name: &str, envelope: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut text = self.open(envelope)?;
        let prefix = format!("{}|", hex(&mac::<Hmac<Sha1>>(&self.0, &[name.as_bytes(), b"v2"])));
        if !bool::from(text.get(..prefix.len()).unwrap_or_default().ct_eq(prefix.as_bytes())) {
            return Err(Refusal::Content);
        }
        text.drain(..prefix.len());
        Ok(text)
    }

    /// Decrypts the header `X-XSRF-TOKEN`. Laravel cuts the prefix off without looking at it.
    ///
    /// # Errors
    /// The reason for which Laravel, too, would take the token as absent.
    pub fn open_xsrf(&self, envelope: &[u8]) -> Result<Vec<u8>, Refusal> {
        const PREFIX_BYTES: usize = 41;
        let text = self.open(envelope)?;
        Ok(text.get(PREFIX_BYTES..).unwrap_or_default().to_vec())
    }

    fn open(&self, envelope: &[u8]) -> Result<Vec<u8>, Refusal> {
        if envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(Refusal::Shape);
        }
        let json = base64_lenient::decode(envelope);
        let envelope: Envelope = serde_json::from_slice(&json).map_err(|_| Refusal::Shape)?;
        // PHP's `empty()` holds for "0" too.
        if envelope.tag.as_deref().is_some_and(|tag| !tag.is_empty() && tag != "0") {
            return Err(Refusal::Aead);
        }
        let own = hex(&mac::<Hmac<Sha256>>(&self.0, &[envelope.iv.as_bytes(), envelope.value.as_bytes()]));
        if !bool::from(own.as_bytes().ct_eq(envelope.mac.as_bytes())) {
            return Err(Refusal::Mac);
        }
        let iv = STANDARD.decode(&envelope.iv).map_err(|_| Refusal::Shape)?;
        let iv: [u8; IV_BYTES] = iv.try_into().map_err(|_| Refusal::Shape)?;
        let mut text = STANDARD.decode(&envelope.value).map_err(|_| Refusal::Shape)?;
        let length = cbc::Decryptor::<Aes256>::new(&self.0.into(), &iv.into())
            .decrypt_padded::<Pkcs7>(&mut text)
            .map_err(|_| Refusal::Content)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

fn mac<M: hmac::Mac + hmac::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Makes envelopes with any content, also ones that Laravel never makes.
#[cfg(test)]
pub mod sealing {
    use super::*;
    use cbc::cipher::BlockModeEncrypt as _;

    /// An envelope under the key.
    pub fn seal(key: &AppKey, text: &[u8]) -> String {
        let mut block = text.to_vec();
        block.resize(text.len() + 16, 0);
        let value = cbc::Encryptor::<Aes256>::new(&key.0.into(), &[9; IV_BYTES].into())
            .encrypt_padded::<Pkcs7>(&mut block, text.len())
            .unwrap();
        let (iv, value) = (STANDARD.encode([9; IV_BYTES]), STANDARD.encode(value));
        let mac = hex(&mac::<Hmac<Sha256>>(&key.0, &[iv.as_bytes(), value.as_bytes()]));
        STANDARD.encode(format!(r#"{{"iv":"{iv}","value":"{value}","mac":"{mac}","tag":""}}"#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Made by Illuminate\Encryption\Encrypter and Illuminate\Cookie\CookieValuePrefix of Laravel 8.83.
    const APP_KEY: &str = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERUY=";
    const NAME: &str = "fintech_connect_session";
    const SESSION: &str = "eyJpdiI6IkVkaURvZTR3cTJ0VTdYZU91RVh3TlE9PSIsInZhbHVlIjoiZXJtcDZlbXhIMXBsVVhZQ21oY2k3WFBXK2ozOVZLSkxBSDQ1VVRXS3ZkV1JHWWNvVmlTOWpGeHZXUEtlSEpDNGxyVTZkN1ZvT29qRHNheFQzUlVOU3FMS1dBeFM3b0FEOU1kRVVYdDJDZDZWREVkY2hqRVpWdUs1QUtpMXNsWWsiLCJtYWMiOiIxZTVlMzBlODNkNTRlZjg2ODg3OTBmNmMwMmNhYjkxNGViYWU1ZjFiMzVjMjEwMDQ3MDBiMWNmNWI2N2I1ZDhmIiwidGFnIjoiIn0=";
    const SESSION_GCM: &str = "eyJpdiI6Imk1Y1V4dmloSnhmVDBGcXoiLCJ2YWx1ZSI6IjJyTjBuS1BBVjNreTJ2K3dXaTN3TXlvV0toVS8yMm9KdUJPckFOUGtkTFAzVXlFNmZkZ1FyQ0g5YVBheVltTkJsRlBUWmJxMFJMR05vQTZSQitubWttcUp0aVVGeEVNeVkvZHJHckpHN3dJbCIsIm1hYyI6IiIsInRhZyI6IlZNMGR3a1RWK25zeXNSUWVEZjIzREE9PSJ9";
    const XSRF: &str = "eyJpdiI6IkVJZVhtVHNCYS9IUktrRjlNbnQwV0E9PSIsInZhbHVlIjoiZmhRbmNkWXZ6S1JnanlSNjNlejYxMHh4UkhhNnllTTFheDVFN1RDOHU5Lytzck0rRWxrRDNHaEoveis0TVJWKzlqcUhOdjNzckIrdnZVMXdRUkJsWTljUGYvU29SbGxjblZFYVppenR5YnJBSjVtWmFTR25VbExSSDhBUmN4bm8iLCJtYWMiOiJhYmExNDNiOGY4ZTVmODQxODFhNTNlODc5MTdjZGYxMjUwMmQyMTllODJlZDQxNDY5NTJhNjRhMzY4MWE0ZWU3IiwidGFnIjoiIn0=";
    /// The same session id with `serialize` on: the prefix is not at the front.
    const SESSION_SERIALIZED: &str = "eyJpdiI6IkRWYXZQdGZzQnZFV1k1T0VZYkpSN3c9PSIsInZhbHVlIjoiRk5nc1JJeWQ1RmoxS3BuWEpCNjJEMWNSeFpGMC9HanFNdjA1djV4d0hvZFloZnZmK0E3dTJvc01JR1VkbmtTaDNCZlZ5V3VkUHlQcW1LSzFIQ25Qdm5Zcmg5TG5DL3dYNmdtMWovQzVmVHdFNTJjRDBYODFsclFxZjEySTVwcDYiLCJtYWMiOiIyNDNhMGYwY2ExNzlhY2FlMjY5M2IwZGU1NWJmM2M5MmQ2MjRiOGU5MzZhNmZhOWI2NmRkZGM2MTE5MWYzMGE3IiwidGFnIjoiIn0=";

    fn key() -> AppKey {
        AppKey::parse(APP_KEY).unwrap()
    }

    fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut json: serde_json::Value =
            serde_json::from_slice(&base64_lenient::decode(SESSION.as_bytes())).unwrap();
        edit(&mut json);
        STANDARD.encode(json.to_string())
    }

    #[test]
    fn an_envelope_of_laravel_opens() {
        let id = "aB3dE".repeat(8);
        assert_eq!(key().open_cookie(NAME, SESSION.as_bytes()).unwrap(), id.as_bytes());
        assert_eq!(key().open_xsrf(XSRF.as_bytes()).unwrap(), "tok9".repeat(10).as_bytes());
        let raw = AppKey::parse("0123456789abcdef0123456789ABCDEF").unwrap();
        assert_eq!(raw.open_cookie(NAME, SESSION.as_bytes()).unwrap(), id.as_bytes());
        let sealed = sealing::seal(&key(), &key().open(SESSION.as_bytes()).unwrap());
        assert_eq!(key().open_cookie(NAME, sealed.as_bytes()).unwrap(), id.as_bytes());
    }

    #[test]
    fn the_outer_base64_may_be_untidy_as_in_php() {
        let untidy = format!(" {}\n", SESSION.trim_end_matches('='));
        assert!(key().open_cookie(NAME, untidy.as_bytes()).is_ok());
    }

    #[test]
    fn what_laravel_refuses_is_refused() {
        let other = AppKey::parse("base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        assert_eq!(other.open_cookie(NAME, SESSION.as_bytes()), Err(Refusal::Mac));
        let flip = |field: &'static str| {
            edited(move |json| {
                let text = json[field].as_str().unwrap();
                let first = if text.starts_with('A') { "B" } else { "A" };
                json[field] = format!("{first}{}", &text[1..]).into();
            })
        };
        let table = [
            (String::new(), Refusal::Shape),
            ("not base64 %%%".into(), Refusal::Shape),
            (STANDARD.encode("[]"), Refusal::Shape),
            (STANDARD.encode(r#"{"iv":"","value":"","mac":1}"#), Refusal::Shape),
            (SESSION.repeat(100), Refusal::Shape),
            (SESSION_GCM.into(), Refusal::Aead),
            (flip("iv"), Refusal::Mac),
            (flip("value"), Refusal::Mac),
            (flip("mac"), Refusal::Mac),
            (edited(|json| json["mac"] = "".into()), Refusal::Mac),
            (XSRF.into(), Refusal::Content),
            (SESSION_SERIALIZED.into(), Refusal::Content),
            (sealing::seal(&key(), b""), Refusal::Content),
        ];
        for (envelope, wanted) in table {
            assert_eq!(key().open_cookie(NAME, envelope.as_bytes()), Err(wanted), "{envelope}");
        }
    }

    #[test]
    fn a_key_of_the_wrong_size_is_named_without_the_key() {
        for (text, wanted) in [
            ("base64:c2hvcnQ=", "5 bytes"),
            ("base64:??", "not base64"),
            ("", "0 bytes"),
            ("short", "5 bytes"),
        ] {
            let fault = AppKey::parse(text).err().unwrap();
            assert!(fault.contains(wanted) && !fault.contains("c2hvcnQ"), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(envelope in proptest::collection::vec(any::<u8>(), 0..300), name in ".*") {
            prop_assert!(key().open_cookie(&name, &envelope).is_err());
        }

        #[test]
        fn any_change_of_an_envelope_is_refused_or_without_effect(at in 0..SESSION.len(), with in any::<u8>()) {
            let mut envelope = SESSION.as_bytes().to_vec();
            envelope[at] = with;
            if let Ok(id) = key().open_cookie(NAME, &envelope) {
                prop_assert_eq!(id, "aB3dE".repeat(8).into_bytes());
            }
        }
    }
}
