//! PHP's `base64_decode` without `strict`: what is not of the alphabet is skipped, padding and leftover bits
//! do not matter. It never fails.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Decodes what there is.
pub fn decode(text: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let known = |b: &u8| b.is_ascii_alphanumeric() || *b == b'+' || *b == b'/';
    let mut symbols: Vec<u8> = text.iter().copied().filter(known).collect();
    if symbols.len() % 4 == 1 {
        symbols.pop();
    }
    LENIENT.decode(symbols).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untidy_text_is_decoded_as_php_decodes_it() {
        // var_dump(base64_decode(…)) of PHP 8.2.
        let table: [(&str, &[u8]); 8] = [
            ("YWJj", b"abc"),
            ("YW Jj\n", b"abc"),
            ("YWI=", b"ab"),
            ("YWI", b"ab"),
            ("YW=I", b"ab"),
            ("YWJjZ", b"abc"),
            ("YWJ%3D", b"abw"),
            ("-_", b""),
        ];
        for (text, wanted) in table {
            assert_eq!(decode(text.as_bytes()), wanted, "{text}");
        }
    }
}
