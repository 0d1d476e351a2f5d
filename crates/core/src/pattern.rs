//! Path patterns of routes: literal segments and `{name}` placeholders, such as `/api/notifications/{id}/read`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Literal(String),
    Placeholder(String),
    Rest,
}

/// A path pattern. `{name}` matches one segment; a last segment `*` matches any rest, also none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    segments: Vec<Segment>,
}

impl PathPattern {
    /// Matches a normalised, percent-decoded path; the placeholders' values in order, or `None`.
    pub fn matches<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let mut values = Vec::new();
        let mut parts = path.split('/').filter(|p| !p.is_empty());
        for segment in &self.segments {
            match segment {
                Segment::Rest => return Some(values),
                Segment::Literal(literal) if parts.next() == Some(literal) => {}
                Segment::Literal(_) => return None,
                Segment::Placeholder(name) => values.push((name.as_str(), parts.next()?)),
            }
        }
        parts.next().is_none().then_some(values)
    }

    /// Whether a placeholder of this name exists.
    pub fn has(&self, name: &str) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Placeholder(n) if n == name))
    }

    /// How specific the pattern is; of two that match, the higher wins.
    pub fn weight(&self) -> (usize, usize) {
        let literals = self.segments.iter().filter(|s| matches!(s, Segment::Literal(_))).count();
        (literals, self.segments.len())
    }
}

impl FromStr for PathPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("path pattern `{text}` must begin with `/`"));
        }
        let mut segments = Vec::new();
        for part in text.split('/').filter(|p| !p.is_empty()) {
            if segments.last() == Some(&Segment::Rest) {
                return Err(format!("path pattern `{text}` goes on after `*`"));
            }
            segments.push(match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                Some("") => return Err(format!("path pattern `{text}` has a placeholder without a name")),
                Some(name) => Segment::Placeholder(name.into()),
                None if part == "*" => Segment::Rest,
                None if part.contains(['{', '}', '*']) => {
                    return Err(format!("path pattern `{text}`: `{part}` must be a whole segment"));
                }
                None => Segment::Literal(part.into()),
            });
        }
        Ok(Self { segments })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("/");
        }
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(literal) => write!(f, "/{literal}"),
            Segment::Placeholder(name) => write!(f, "/{{{name}}}"),
            Segment::Rest => f.write_str("/*"),
        })
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_segments() {
        let check = |pattern: &str, path: &str| {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert_eq!(pattern.to_string().parse::<PathPattern>().unwrap(), pattern);
            pattern
                .matches(path)
                .map(|v| v.iter().map(|(n, p)| format!("{n}={p}")).collect::<Vec<_>>().join(","))
        };
        assert_eq!(
            check("/api/notifications/{id}/read", "/api/notifications/7/read").as_deref(),
            Some("id=7")
        );
        assert_eq!(check("/api/notifications/{id}/read", "/api/notifications/7"), None);
        assert_eq!(check("/api/notifications", "/api/notifications/").as_deref(), Some(""));
        assert_eq!(check("/api/notifications", "/api/notifications/7"), None);
        assert_eq!(check("/payments/*", "/payments").as_deref(), Some(""));
        assert_eq!(check("/payments/*", "/payments/new/x").as_deref(), Some(""));
        assert_eq!(check("/", "/").as_deref(), Some(""));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["", "a", "/a{b}", "/{}", "/*/a", "/a*"] {
            assert!(text.parse::<PathPattern>().is_err(), "{text}");
        }
    }
}
