//! The unsubscribe links of mails: nobody can unsubscribe somebody else.
//!
//! The token is the monolith's, HMAC-SHA-256 over the lower-case address with the application key, so that a
//! link works on whichever side the user is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::Write as _;
use subtle::ConstantTimeEq as _;

/// Makes and checks links.
#[derive(Clone)]
pub struct Links {
    key: Vec<u8>,
    public_url: String,
}

impl Links {
    /// Links of an installation; the key as Laravel's `APP_KEY` has it. `None` where it cannot be read.
    pub fn new(app_key: &str, public_url: &str) -> Option<Self> {
        let key = match app_key.strip_prefix("base64:") {
            Some(text) => STANDARD.decode(text).ok()?,
            None => app_key.as_bytes().to_vec(),
        };
        let public_url = public_url.trim_end_matches('/').to_owned();
        (!key.is_empty()).then_some(Self { key, public_url })
    }

    /// What links begin with.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// The link for an address.
    pub fn unsubscribe(&self, email: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("email", email).append_pair("token", &self.token(email));
        format!("{}/unsubscribe?{}", self.public_url, query.finish())
    }

    /// Whether a link's token is that of its address; compared in constant time.
    pub fn is_genuine(&self, email: &str, token: &str) -> bool {
        self.token(email).as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn token(&self, email: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(email.to_lowercase().as_bytes());
        mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_the_monoliths() {
        let links = Links::new("0123456789abcdef", "https://shop.example/").unwrap();
        // php -r 'echo hash_hmac("sha256", "user1@example.com", "0123456789abcdef");'
        let token = "ca829bbcbc0b712b832e2b69a2a5724b05019abc47f4a3d4f3ad18ed21092554";
        assert!(links.is_genuine("User1@Example.com", token));
        assert!(!links.is_genuine("user2@example.com", token) && !links.is_genuine("user1@example.com", ""));
        let wanted = format!("https://shop.example/unsubscribe?email=user1%40example.com&token={token}");
        assert_eq!(links.unsubscribe("user1@example.com"), wanted);
        let same = Links::new("base64:MDEyMzQ1Njc4OWFiY2RlZg==", "https://shop.example").unwrap();
        assert_eq!(same.unsubscribe("user1@example.com"), wanted);
        assert!(Links::new("base64:%", "x").is_none() && Links::new("", "x").is_none());
    }
}
