//! The form of a path by which routes are matched, so that no odd spelling slips past a capability.
//!
//! Percent escapes are decoded once, as Laravel does (`rawurldecode`); an escaped slash separates, `\` counts
//! as `/`, empty and `.` segments vanish, `..` takes one back, parameters behind `;` and a front controller
//! `index.php` are left out. Some of these spellings mean nothing to the owner: then it answers 404, as it
//! would without the gateway. What is forwarded is always the path as it came.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The normal form of a raw path: begins with `/`, no empty, `.` or `..` segment, no slash at the end. Bytes
/// that are no UTF-8 become U+FFFD, which no pattern has.
pub fn normal(raw: &str) -> Cow<'_, str> {
    if is_normal(raw) {
        return Cow::Borrowed(raw);
    }
    let decoded = percent_decode_str(raw).decode_utf8_lossy();
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        let name = segment.split_once(';').map_or(segment, |(name, _)| name);
        match name {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let front = segments.iter().take_while(|s| s.eq_ignore_ascii_case("index.php")).count();
    if segments.len() == front {
        return Cow::Borrowed("/");
    }
    let mut path = String::with_capacity(decoded.len());
    for segment in &segments[front..] {
        path.push('/');
        path.push_str(segment);
    }
    Cow::Owned(path)
}

fn is_normal(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    let odd = |b: &u8| matches!(b, b'%' | b'\\' | b';');
    if raw == "/" {
        return true;
    }
    bytes.first() == Some(&b'/')
        && bytes.last() != Some(&b'/')
        && !bytes.iter().any(odd)
        // A segment that begins with a dot is looked at closely; `//` ends an empty one.
        && !bytes.windows(2).any(|w| w[0] == b'/' && (w[1] == b'.' || w[1] == b'/'))
        && !bytes.get(1..10).is_some_and(|front| front.eq_ignore_ascii_case(b"index.php"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_has_one_normal_form() {
        let wanted = "/api/notifications";
        for spelling in [
            "/api/notifications",
            "/api/notifications/",
            "/api/notifications//",
            "//api//notifications",
            "/api/./notifications",
            "/api/x/../notifications",
            "/../api/notifications",
            "/api/%2e/notifications",
            "/api/x/%2E%2e/notifications",
            "/api%2Fnotifications",
            "/api%2fnotifications",
            "/%61pi/notific%61tions",
            "/api/notification%73",
            "/api;v=1/notifications;jsessionid=1",
            "/api\\notifications",
            "/api%5Cnotifications",
            "/index.php/api/notifications",
            "/INDEX.PHP/api/notifications",
            "/index.php//api/notifications/",
            "/x/../index.php/api/notifications",
            "/%69ndex.php/api/notifications",
            "/index.php/index.php/api/notifications",
        ] {
            assert_eq!(normal(spelling), wanted, "{spelling}");
        }
    }

    #[test]
    fn what_is_another_path_stays_another() {
        for (raw, wanted) in [
            ("/", "/"),
            ("", "/"),
            ("//", "/"),
            ("/index.php", "/"),
            ("/index.phpx", "/index.phpx"),
            ("/index.php.bak/a", "/index.php.bak/a"),
            ("/API/notifications", "/API/notifications"),
            ("/api/notifications%252F7", "/api/notifications%2F7"),
            ("/api/notifications/%zz", "/api/notifications/%zz"),
            ("/api/notifications/.7", "/api/notifications/.7"),
            ("/a/%FF", "/a/\u{fffd}"),
            ("/well-known/.x", "/well-known/.x"),
        ] {
            assert_eq!(normal(raw), wanted, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn normal_paths_without_escapes_are_fixed_points(raw in "[/.;\\\\a-c]{0,12}(index\\.php)?[/.;a-c]{0,8}") {
            let once = normal(&raw).into_owned();
            prop_assert_eq!(normal(&once).into_owned(), once.clone());
            prop_assert!(once.starts_with('/') && !once.contains("//"));
            prop_assert!(once.split('/').all(|s| s != "." && s != ".."));
        }
    }
}
