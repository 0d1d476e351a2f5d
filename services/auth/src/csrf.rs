//! Laravel's CSRF check (`VerifyCsrfToken::tokensMatch`): the field `_token`, else the header
//! `X-CSRF-TOKEN`, else the encrypted header `X-XSRF-TOKEN`; the first that PHP holds for true decides.

use crate::envelope::AppKey;
use banyan_core::protocol::identity::CsrfCarriers;
use std::borrow::Cow;
use subtle::ConstantTimeEq as _;

/// Whether what the request carries is the session's token, compared in constant time. A session without
/// a token, or with an empty one, matches nothing.
pub fn matches(carriers: &CsrfCarriers, session_token: Option<&[u8]>, app_key: &AppKey) -> bool {
    let Some(own) = session_token.filter(|token| !token.is_empty()) else { return false };
    presented(carriers, app_key).is_some_and(|token| own.ct_eq(&token).into())
}

fn presented<'c>(carriers: &'c CsrfCarriers, app_key: &AppKey) -> Option<Cow<'c, [u8]>> {
    let truthy = |text: &'c Option<String>| text.as_deref().filter(|t| !t.is_empty() && *t != "0");
    if let Some(plain) = truthy(&carriers.field).or_else(|| truthy(&carriers.header)) {
        return Some(Cow::Borrowed(plain.as_bytes()));
    }
    app_key.open_xsrf(truthy(&carriers.xsrf)?.as_bytes()).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::sealing::seal;

    #[test]
    fn the_first_carrier_that_is_present_decides() {
        let key = AppKey::parse("0123456789abcdef0123456789ABCDEF").unwrap();
        let sealed = |token: &str| seal(&key, format!("{}|{token}", "0".repeat(40)).as_bytes());
        let (good, bad) = (sealed("right"), sealed("wrong"));
        let table = [
            (Some("right"), None, None, true),
            (Some("right"), Some("wrong"), Some(bad.as_str()), true),
            (Some("wrong"), Some("right"), Some(good.as_str()), false),
            (None, Some("right"), None, true),
            (Some(""), Some("right"), None, true),
            (Some("0"), Some("right"), None, true),
            (None, Some("wrong"), Some(good.as_str()), false),
            (None, None, Some(good.as_str()), true),
            (None, None, Some(bad.as_str()), false),
            (None, None, Some("right"), false),
            (Some("Right"), None, None, false),
            (Some("righ"), None, None, false),
            (None, None, None, false),
        ];
        for (field, header, xsrf, wanted) in table {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let carriers = CsrfCarriers { field: owned(field), header: owned(header), xsrf: owned(xsrf) };
            assert_eq!(matches(&carriers, Some(b"right"), &key), wanted, "{carriers:?}");
            assert!(!matches(&carriers, None, &key), "{carriers:?}");
        }
    }

    #[test]
    fn an_empty_session_token_matches_nothing() {
        let key = AppKey::parse("0123456789abcdef0123456789ABCDEF").unwrap();
        let carriers = CsrfCarriers { xsrf: Some(seal(&key, b"short")), ..CsrfCarriers::default() };
        assert!(!matches(&carriers, Some(b""), &key));
    }
}
