//! Writes JSON from pieces into one buffer whose size is computed first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// `-2147483648`
const INT_MAX_LEN: usize = 11;

/// A part of the text.
pub(super) enum Piece<'a> {
    /// Is JSON already.
    Raw(&'static str),
    Int(i32),
    /// Is quoted and escaped.
    Text(&'a str),
    /// Is quoted and encoded.
    Base64(&'a [u8]),
}

pub(super) fn join(pieces: &[Piece<'_>]) -> Vec<u8> {
    let size = pieces.iter().map(size).sum();
    let mut out = Vec::with_capacity(size);
    for piece in pieces {
        match piece {
            Piece::Raw(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Int(value) => put_int(&mut out, *value),
            Piece::Text(text) => put_text(&mut out, text),
            Piece::Base64(data) => put_base64(&mut out, data),
        }
    }
    debug_assert_eq!(
        out.len(),
        size,
        "the size was computed from the same pieces"
    );
    out
}

fn size(piece: &Piece<'_>) -> usize {
    match piece {
        Piece::Raw(text) => text.len(),
        Piece::Int(value) => {
            let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
            digits + usize::from(*value < 0)
        }
        Piece::Text(text) => 2 + text.bytes().map(|byte| escape(byte).len()).sum::<usize>(),
        Piece::Base64(data) => 2 + base64_len(data),
    }
}

fn base64_len(data: &[u8]) -> usize {
    data.len().div_ceil(3) * 4
}

/// How a byte of a string is written.
enum Escape {
    None,
    Short(u8),
    Unicode,
}

impl Escape {
    fn len(&self) -> usize {
        match self {
            Self::None => 1,
            Self::Short(_) => 2,
            Self::Unicode => 6,
        }
    }
}

fn escape(byte: u8) -> Escape {
    match byte {
        b'"' | b'\\' => Escape::Short(byte),
        b'\n' => Escape::Short(b'n'),
        b'\r' => Escape::Short(b'r'),
        b'\t' => Escape::Short(b't'),
        0..0x20 => Escape::Unicode,
        _ => Escape::None,
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match escape(byte) {
            Escape::None => out.push(byte),
            Escape::Short(letter) => out.extend_from_slice(&[b'\\', letter]),
            Escape::Unicode => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.push(b'"');
}

fn put_base64(out: &mut Vec<u8>, data: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + base64_len(data), 0);
    STANDARD
        .encode_slice(data, &mut out[start..])
        .expect("the slice has the length of the encoded data");
    out.push(b'"');
}

fn put_int(out: &mut Vec<u8>, value: i32) {
    let mut digits = [0; INT_MAX_LEN];
    let mut at = INT_MAX_LEN;
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_decimal() {
        for value in [0, 7, -7, 10, 1001, -100, i32::MAX, i32::MIN] {
            assert_eq!(join(&[Piece::Int(value)]), value.to_string().as_bytes());
        }
    }

    #[test]
    fn strings_are_escaped_so_that_any_reader_gets_them_back() {
        let all: String = (0u32..0x300).filter_map(char::from_u32).collect();
        let written = join(&[Piece::Text(&all)]);
        assert_eq!(written.capacity(), written.len());
        assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), all);
    }
}
