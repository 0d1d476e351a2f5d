//! The text fields of a `multipart/form-data` body (RFC 7578), as PHP reads them: files are no fields.
//!
//! Pure and bounded by the body's length. What is malformed has no fields from there on; nothing fails.

/// The boundary that a content type names; `None` where it is no multipart form.
pub fn boundary(content_type: &str) -> Option<&str> {
    let is_form = content_type.get(..19).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data"));
    parameter(content_type, "boundary").filter(|boundary| is_form && !boundary.is_empty())
}

/// Names and values in the order of the body.
pub fn fields(boundary: &str, body: &[u8]) -> Vec<(String, String)> {
    // A delimiter stands at the beginning of a line (RFC 2046, 5.1.1); so does the first one.
    let text = format!("\r\n{}", String::from_utf8_lossy(body));
    let delimiter = format!("\r\n--{boundary}");
    text.split(delimiter.as_str()).skip(1).filter_map(field).collect()
}

fn field(part: &str) -> Option<(String, String)> {
    let (head, content) = part.split_once("\r\n\r\n")?;
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let is_file = parameter(disposition, "filename").is_some();
    let name = parameter(disposition, "name").filter(|_| !is_file)?;
    Some((name.to_owned(), content.to_owned()))
}

/// A parameter such as `name="a"` of a header's value, without its quotes.
fn parameter<'t>(value: &'t str, wanted: &str) -> Option<&'t str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Vec<(String, String)> {
        fields(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"xX\"").unwrap(), body.as_bytes())
    }

    fn part(head: &str, value: &str) -> String {
        format!("--xX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    }

    #[test]
    fn fields_are_read_and_files_are_not() {
        let body = part("name=\"a\"", "1\r\n2")
            + &part("name=b; filename=\"f\"", "file")
            + &part("name=b", "a--xXb")
            + "--xX--\r\nepilogue";
        assert_eq!(check(&body), [("a".into(), "1\r\n2".into()), ("b".into(), "a--xXb".into())]);
        let behind = format!("preamble\r\n{}--xX--", part("name=a", "1\r\n"));
        assert_eq!(check(&behind), [("a".into(), "1\r\n".into())]);
        assert_eq!(check(&part("x=1", "1")), []);
        assert_eq!(check("--xX\r\nname=a"), []);
        assert_eq!(check(""), []);
    }

    #[test]
    fn only_a_multipart_form_with_a_boundary_is_one() {
        assert_eq!(boundary("multipart/form-data; boundary=x"), Some("x"));
        for other in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x", ""]
        {
            assert_eq!(boundary(other), None, "{other}");
        }
    }
}
