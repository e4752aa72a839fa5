//! The JSON form of `openim.*` messages, as REST bodies, notification details and webhooks use it.
//!
//! It is not protobuf's canonical mapping. Names are the fields' names as written, all integers are numbers, bytes are
//! base64, what is unset or empty is `null`, empty maps are left out, and wrapper messages are bare values. On input,
//! names match in any case, unknown members are skipped and `null` means the zero value everywhere; a member that is
//! given twice is an error. `build.rs` puts these rules on the messages with the helpers of the `field` module; this module adds
//! what concerns a whole text.
//!
//! Limits of the input: 128 levels of nesting in what is not skipped, and lists and maps that need at most 32 MiB of memory in all. The one
//! exception to case-insensitive names are the two messages with a `oneof` (`openim.rtc`), which no client sends as JSON.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Result;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

mod caseless;
pub(crate) mod field;

/// Encodes a value.
///
/// # Errors
/// Never for the messages of this crate; for other types as `serde_json::to_vec`.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut out, HtmlSafe))?;
    Ok(out)
}

/// Encodes a value as text, as [`to_vec`].
///
/// # Errors
/// As [`to_vec`].
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    String::from_utf8(to_vec(value)?).map_err(serde::ser::Error::custom)
}

/// Decodes a value; `null` is the default value.
///
/// # Errors
/// Text that is not JSON, that goes beyond the limits above, or whose values have the wrong type or range.
pub fn from_slice<'a, T: Deserialize<'a> + Default>(json: &'a [u8]) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value: Option<T> = caseless::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value.unwrap_or_default())
}

/// Compact output that is safe inside HTML and JavaScript, with whole floating-point numbers written without a fraction.
struct HtmlSafe;

impl Formatter for HtmlSafe {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            let mut tail = tail.chars();
            out.write_all(plain.as_bytes())?;
            if let Some(c) = tail.next() {
                write!(out, "\\u{:04x}", u32::from(c))?;
            }
            rest = tail.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        if value.fract() == 0.0 && value.abs() < 1e21 {
            return write!(out, "{value}");
        }
        CompactFormatter.write_f64(out, value)
    }

    fn write_f32<W: io::Write + ?Sized>(&mut self, out: &mut W, value: f32) -> io::Result<()> {
        if value.fract() == 0.0 && value.abs() < 1e21 {
            return write!(out, "{value}");
        }
        CompactFormatter.write_f32(out, value)
    }
}
