//! The character sets whose bytes in the binlog Banyan reads.

/// A character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// `utf8mb4`, `utf8mb3`, `ascii`: UTF-8 as it stands.
    Utf8,
    /// MySQL's `latin1`: Windows-1252, whose five unused bytes are the C1 controls of the same number
    /// (MySQL manual, "West European Character Sets").
    Latin1,
}

/// 0x80 to 0x9f in MySQL's latin1.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl Charset {
    /// By MySQL's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Some(Self::Utf8),
            "latin1" => Some(Self::Latin1),
            _ => None,
        }
    }

    /// Bytes as Unicode.
    ///
    /// # Errors
    /// They are no text in this character set.
    pub fn decode(self, bytes: &[u8]) -> Result<String, String> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).map(str::to_owned).map_err(|e| e.to_string()),
            Self::Latin1 => Ok(bytes.iter().map(|byte| latin1(*byte)).collect()),
        }
    }
}

fn latin1(byte: u8) -> char {
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_is_windows_1252() {
        assert_eq!(Charset::Latin1.decode(b"Gr\xfc\xdfe \x80 \x81").unwrap(), "Grüße € \u{81}");
        assert!(Charset::Utf8.decode(b"\xfc").is_err());
        assert_eq!(Charset::parse("koi8r"), None);
    }
}
