//! The `_id` of a document: its key fields as one string that sorts as they do.
//!
//! A text ends with U+0001, which no text contains: U+0000 to U+0002 are written as U+0002 and one more character. A number
//! is 16 hex digits, bytes are hex. The last field has no end mark, so the `_id` of a one-field text key is the text.

use std::fmt::Write as _;

use magpie_store::Value;

const END: char = '\u{1}';
/// Starts an escape; also the first character after every id that goes on with [`END`].
const ESCAPE: char = '\u{2}';

/// The `_id` of the document with this key.
pub(crate) fn id_of(key: &[Value]) -> String {
    let size = key.iter().map(|value| value.size().max(16) + 1).sum();
    let mut id = String::with_capacity(size);
    for (n, value) in key.iter().enumerate() {
        if n > 0 {
            id.push(END);
        }
        push(&mut id, value);
    }
    id
}

/// The lowest `_id` that can follow these first key fields and, in the next one, `from`.
pub(crate) fn lower(prefix: &[Value], from: Option<&Value>) -> Option<String> {
    let mut id = id_of(prefix);
    if !prefix.is_empty() {
        id.push(END);
    }
    if let Some(from) = from {
        push(&mut id, from);
    }
    (!id.is_empty()).then_some(id)
}

/// Above every `_id` that starts with these key fields and does not go beyond `to` in the next one.
pub(crate) fn upper(prefix: &[Value], to: Option<&Value>) -> Option<String> {
    let mut id = id_of(prefix);
    if let Some(to) = to {
        if !prefix.is_empty() {
            id.push(END);
        }
        push(&mut id, to);
    }
    if prefix.is_empty() && to.is_none() {
        return None;
    }
    id.push(ESCAPE);
    Some(id)
}

fn push(id: &mut String, value: &Value) {
    match value {
        Value::Int(v) => {
            write!(id, "{:016x}", v.cast_unsigned() ^ (1 << 63)).expect("writing to a string");
        }
        Value::Text(v) if v.bytes().all(|b| b > 2) => id.push_str(v),
        Value::Text(v) => v.chars().for_each(|c| match c {
            '\0' => id.extend([ESCAPE, '\u{2}']),
            END => id.extend([ESCAPE, '\u{3}']),
            ESCAPE => id.extend([ESCAPE, '\u{4}']),
            c => id.push(c),
        }),
        Value::Blob(v) => {
            const DIGITS: [char; 16] = [
                '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
            ];
            for byte in v {
                let digit = |d: u8| DIGITS.get(usize::from(d)).copied().unwrap_or('0');
                id.extend([digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Vec<Value>> {
        let texts = [
            "",
            "\0",
            "\0\0",
            "\u{1}",
            "\u{1}a",
            "\u{2}",
            "\u{2}\u{2}",
            "\u{3}",
            " ",
            "a",
            "a\0",
            "a\0b",
            "a\u{1}",
            "a\u{2}",
            "a\u{3}",
            "aa",
            "b",
            "é",
            "鹊",
            "🐦",
        ];
        let numbers = [i64::MIN, -1, 0, 1, 255, i64::MAX];
        let blobs: [&'static [u8]; 6] = [b"", b"\0", b"\0\0", b"\x01", b"\x0f", b"\xff\xff"];
        let mut keys = Vec::new();
        for text in texts {
            for number in numbers {
                for blob in blobs {
                    keys.push(vec![
                        Value::from(text),
                        Value::Int(number),
                        Value::from(text),
                        Value::Blob(blob.into()),
                    ]);
                }
            }
        }
        keys
    }

    #[test]
    fn ids_sort_as_their_keys() {
        let sorted = keys();
        assert!(sorted.is_sorted());
        for pair in sorted.windows(2) {
            assert!(id_of(&pair[0]) < id_of(&pair[1]), "{pair:?}");
        }
        for key in &sorted {
            let texts = [key[0].clone(), key[2].clone()];
            assert!(!id_of(&texts).contains('\0'));
        }
    }

    #[test]
    fn bounds_hold_exactly_the_keys_between() {
        let all = keys();
        for length in 0..4 {
            for (bound, key) in all.iter().enumerate().step_by(7) {
                let prefix = &key[..length];
                let other = &all[(bound * 31) % all.len()][length];
                for (from, to) in [
                    (None, None),
                    (Some(&key[length]), None),
                    (None, Some(other)),
                    (Some(&key[length]), Some(other)),
                ] {
                    let (low, high) = (lower(prefix, from), upper(prefix, to));
                    for candidate in &all {
                        let id = id_of(candidate);
                        let within = low.as_ref().is_none_or(|low| *low <= id)
                            && high.as_ref().is_none_or(|high| id < *high);
                        let expected = candidate.starts_with(prefix)
                            && from.is_none_or(|from| *from <= candidate[length])
                            && to.is_none_or(|to| candidate[length] <= *to);
                        assert_eq!(within, expected, "{prefix:?} {from:?} {to:?} {candidate:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn id_of_a_plain_key_is_readable() {
        assert_eq!(id_of(&[Value::from("u1")]), "u1");
        assert_eq!(
            id_of(&[Value::from("u1"), Value::from("si_u1_u2"), Value::Int(5)]),
            "u1\u{1}si_u1_u2\u{1}8000000000000005"
        );
    }
}
