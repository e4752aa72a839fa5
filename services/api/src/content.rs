//! Shapes of the message contents that back ends may send (rest-api.md 4.5.1): which keys must be there and hold something.

use magpie_types::{Error, Result, msg::content_type};
use serde_json::{Map, Value};

/// What a key must hold.
enum Need {
    /// A text that is not empty.
    Text,
    /// A number that is not zero; one written as text will do.
    Number,
    /// An object with these keys.
    Object(&'static [(&'static str, Need)]),
    /// An object of this shape, or nothing.
    Maybe(&'static [(&'static str, Need)]),
}

type Shape = [(&'static str, Need)];

/// Most users that one message mentions.
const MAX_MENTIONS: usize = 1000;

/// Kinds of media that a system notice may carry: none, picture, sound, video, file and all of them.
const MIX_TYPES: std::ops::RangeInclusive<i64> = 0..=5;

const IMAGE: &Shape = &[
    ("type", Need::Text),
    ("width", Need::Number),
    ("height", Need::Number),
    ("url", Need::Text),
];
const PICTURE: &Shape = &[
    ("sourcePicture", Need::Object(IMAGE)),
    ("bigPicture", Need::Object(IMAGE)),
    ("snapshotPicture", Need::Object(IMAGE)),
];
const SOUND: &Shape = &[("sourceUrl", Need::Text), ("duration", Need::Number)];
const VIDEO: &Shape = &[
    ("videoUrl", Need::Text),
    ("videoType", Need::Text),
    ("videoSize", Need::Number),
    ("duration", Need::Number),
    ("snapshotUrl", Need::Text),
    ("snapshotWidth", Need::Number),
    ("snapshotHeight", Need::Number),
];
const FILE: &Shape = &[
    ("sourceUrl", Need::Text),
    ("fileName", Need::Text),
    ("fileSize", Need::Number),
];
const NOTICE: &Shape = &[
    ("notificationName", Need::Text),
    ("notificationType", Need::Number),
    ("text", Need::Text),
    ("pictureElem", Need::Maybe(PICTURE)),
    ("soundElem", Need::Maybe(SOUND)),
    ("videoElem", Need::Maybe(VIDEO)),
    ("fileElem", Need::Maybe(FILE)),
];

fn shape(kind: i32) -> Option<&'static Shape> {
    match kind {
        content_type::TEXT | content_type::MARKDOWN => Some(&[("content", Need::Text)]),
        102 => Some(PICTURE),
        103 => Some(SOUND),
        104 => Some(VIDEO),
        105 => Some(FILE),
        110 => Some(&[("data", Need::Text)]),
        content_type::AT_TEXT | content_type::QUOTE => Some(&[]),
        content_type::OA_NOTIFICATION => Some(NOTICE),
        _ => None,
    }
}

/// Refuses the content types that back ends do not send by this route.
pub(crate) fn check_type(kind: i32) -> Result<()> {
    shape(kind)
        .map(|_| ())
        .ok_or_else(|| Error::args("contentType can't be sent by this route"))
}

/// Checks a content against the shape of its type.
pub(crate) fn check(kind: i32, content: &Map<String, Value>) -> Result<()> {
    check_type(kind)?;
    check_shape(shape(kind).unwrap_or_default(), content, "content")?;
    if kind == content_type::OA_NOTIFICATION {
        let mix = get(content, "mixType").and_then(number).unwrap_or(0.0);
        if !MIX_TYPES
            .clone()
            .any(|known| (known as f64 - mix).abs() < f64::EPSILON)
        {
            return Err(Error::args("content.mixType is not known"));
        }
    }
    if kind == content_type::AT_TEXT {
        mentioned(content)?;
    }
    Ok(())
}

/// Users that a content mentions.
pub(crate) fn mentioned(content: &Map<String, Value>) -> Result<Vec<String>> {
    let users = match get(content, "atUserList") {
        Some(Value::Array(users)) => users.as_slice(),
        _ => &[],
    };
    if users.len() > MAX_MENTIONS {
        return Err(Error::args("content.atUserList is too long"));
    }
    let text = |user: &Value| user.as_str().map(str::to_owned);
    users
        .iter()
        .map(|user| {
            text(user)
                .ok_or_else(|| Error::args("content.atUserList holds something else than ids"))
        })
        .collect()
}

fn check_shape(shape: &Shape, content: &Map<String, Value>, path: &str) -> Result<()> {
    for (key, need) in shape {
        let value = get(content, key);
        let fits = match (need, value) {
            (Need::Text, Some(Value::String(text))) => !text.is_empty(),
            (Need::Number, Some(value)) => number(value).is_some_and(|n| n != 0.0),
            (Need::Object(inner) | Need::Maybe(inner), Some(Value::Object(object))) => {
                check_shape(inner, object, &format!("{path}.{key}"))?;
                true
            }
            (Need::Maybe(_), None | Some(Value::Null)) => true,
            _ => false,
        };
        if !fits {
            return Err(Error::args(format!(
                "{path}.{key} is missing, empty or of the wrong type"
            )));
        }
    }
    Ok(())
}

/// A member, whatever the case of its name.
fn get<'a>(content: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    content.get(key).or_else(|| {
        content
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(kind: i32, content: Value) -> Result<()> {
        check(kind, content.as_object().unwrap())
    }

    #[test]
    fn what_must_be_there_is_there() {
        use serde_json::json;
        assert!(checked(101, json!({"Content": "hi", "extra": 1})).is_ok());
        assert!(checked(101, json!({"content": ""})).is_err());
        assert!(checked(101, json!({})).is_err());
        assert!(checked(103, json!({"sourceUrl": "u", "duration": "3"})).is_ok());
        assert!(checked(103, json!({"sourceUrl": "u", "duration": 0})).is_err());
        let image = json!({"type": "png", "width": 1, "height": 2, "url": "u"});
        assert!(
            checked(
                102,
                json!({"sourcePicture": image, "bigPicture": image, "snapshotPicture": image})
            )
            .is_ok()
        );
        assert!(checked(102, json!({"sourcePicture": image})).is_err());
        assert!(checked(114, json!({})).is_ok());
    }

    #[test]
    fn other_types_are_refused() {
        for kind in [0, -1, 107, 108, 109, 113, 115, 2001, 9999] {
            assert!(check_type(kind).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_notice_may_carry_media() {
        use serde_json::json;
        let notice = |extra: Value| {
            let mut notice = json!({"notificationName": "N", "notificationType": 1, "text": "t"});
            notice
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            checked(1400, notice)
        };
        assert!(notice(json!({})).is_ok());
        assert!(notice(json!({"mixType": 5, "pictureElem": null})).is_ok());
        assert!(notice(json!({"mixType": 6})).is_err());
        assert!(notice(json!({"soundElem": {"sourceUrl": "u"}})).is_err());
    }

    #[test]
    fn mentions_are_bounded() {
        use serde_json::json;
        assert!(checked(106, json!({"atUserList": [], "text": "x"})).is_ok());
        assert!(checked(106, json!({"atUserList": [1]})).is_err());
        assert!(checked(106, json!({"atUserList": vec!["u"; 1001]})).is_err());
    }
}
