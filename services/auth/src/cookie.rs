//! Finds one cookie in a `Cookie` header as PHP does (`php_default_treat_data` in main/php_variables.c):
//! the first of a name wins, `.` and ` ` in names count as `_`, values are percent-decoded and `+` stays.

use std::borrow::Cow;

/// The value of the cookie; empty where the pair has no `=`.
pub fn find<'h>(header: &'h str, name: &str) -> Option<Cow<'h, [u8]>> {
    header.split(';').find_map(|pair| {
        let pair = pair.trim_ascii_start();
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        same_name(found, name).then(|| percent_encoding::percent_decode_str(value).into())
    })
}

fn same_name(found: &str, wanted: &str) -> bool {
    // PHP never lets a changed name become one with a prefix that browsers protect (CVE-2022-31629).
    if wanted.starts_with("__") {
        return found == wanted;
    }
    found.len() == wanted.len()
        && found.bytes().zip(wanted.bytes()).all(|(f, w)| f == w || (w == b'_' && (f == b'.' || f == b' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_as_php_finds_it() {
        // var_dump($_COOKIE) of PHP 8.2 for the same headers.
        let table: [(&str, &str, Option<&[u8]>); 12] = [
            ("a=1; b=2", "b", Some(b"2")),
            ("a=1;a=2", "a", Some(b"1")),
            ("x=1", "a", None),
            ("", "a", None),
            ("a", "a", Some(b"")),
            ("b=x+y%2Bz%3D=", "b", Some(b"x+y+z==")),
            ("c.d=3; c_d=4", "c_d", Some(b"3")),
            ("a b=7", "a_b", Some(b"7")),
            ("%61q=9", "aq", None),
            ("f= 5 ; g=1", "f", Some(b" 5 ")),
            ("..Host-a=1; __Host-a=2", "__Host-a", Some(b"2")),
            ("e=\"q\"", "e", Some(b"\"q\"")),
        ];
        for (header, name, wanted) in table {
            assert_eq!(find(header, name).as_deref(), wanted, "{header}");
        }
    }
}
