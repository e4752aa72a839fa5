//! What a sender claims about a message: bounded for everybody, and for users replaced by what the server knows.
//!
//! Clients show these fields unchecked, so a forged one reaches every receiver: a time that JavaScript can't hold stops the
//! TypeScript SDK, and `msgFrom` 200 looks like the server itself.

use magpie_proto::openim::sdkws::MsgData;
use magpie_service::{Caller, Context};
use magpie_types::{Error, Result, msg::FROM_USER};
use serde_json::{Map, Value};

use super::options;

/// Largest integer that JavaScript holds exactly.
const MAX_TIME: i64 = (1 << 53) - 1;

/// Refuses times that clients can't hold (1001), whoever sends.
pub(super) fn check_times(msg: &MsgData) -> Result<()> {
    for (name, time) in [("sendTime", msg.send_time), ("createTime", msg.create_time)] {
        if !(0..=MAX_TIME).contains(&time) {
            return Err(Error::args(format!(
                "{name} is outside 0 to {MAX_TIME} milliseconds"
            )));
        }
    }
    Ok(())
}

/// Replaces what a user may not choose. Administrators and the server's own messages are believed.
pub(super) fn correct(ctx: &Context, msg: &mut MsgData) {
    tidy_attached_info(msg);
    if !matches!(ctx.caller, Caller::User(_)) {
        return;
    }
    msg.send_time = 0;
    msg.msg_from = FROM_USER;
    if ctx.platform_id != 0 {
        msg.sender_platform_id = ctx.platform_id;
    }
    msg.sender_nickname.retain(|c| !is_disguise(c));
    options::drop_server_keys(msg);
}

/// Clients parse a filled `attachedInfo` as a JSON object, unchecked (gateway.md 13.3).
fn tidy_attached_info(msg: &mut MsgData) {
    if !msg.attached_info.is_empty()
        && serde_json::from_str::<Map<String, Value>>(&msg.attached_info).is_err()
    {
        msg.attached_info.clear();
    }
}

/// Control characters, and those that turn the direction of the text around them: a name can look like another with them.
fn is_disguise(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use magpie_types::UserId;

    use super::*;

    fn user() -> Context {
        Context {
            caller: Caller::User(UserId::new("u1").unwrap()),
            platform_id: 5,
            ..Context::internal("o")
        }
    }

    fn forged() -> MsgData {
        MsgData {
            send_time: 1,
            msg_from: 200,
            sender_platform_id: 10,
            sender_nickname: "ad\u{202e}\u{0}min 👩\u{200d}🚀".to_owned(),
            attached_info: "no JSON".to_owned(),
            ex: "text of the application".to_owned(),
            options: [
                ("isNotNotification".to_owned(), false),
                ("isSendMsg".to_owned(), true),
                ("mine".to_owned(), false),
            ]
            .into(),
            ..MsgData::default()
        }
    }

    #[test]
    fn a_user_speaks_as_a_user_of_his_platform_at_the_servers_time() {
        let mut msg = forged();
        correct(&user(), &mut msg);
        assert_eq!(
            msg,
            MsgData {
                msg_from: 100,
                sender_platform_id: 5,
                sender_nickname: "admin 👩\u{200d}🚀".to_owned(),
                ex: "text of the application".to_owned(),
                options: [("mine".to_owned(), false)].into(),
                ..MsgData::default()
            }
        );
    }

    #[test]
    fn an_administrator_is_believed_in_what_clients_can_read() {
        let mut msg = forged();
        correct(&Context::internal("o"), &mut msg);
        assert_eq!(
            msg,
            MsgData {
                attached_info: String::new(),
                ..forged()
            }
        );
    }

    #[test]
    fn times_are_those_that_javascript_can_hold() {
        for (time, good) in [
            (0, true),
            (MAX_TIME, true),
            (MAX_TIME + 1, false),
            (-1, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            for (send_time, create_time) in [(time, 0), (0, time)] {
                let msg = MsgData {
                    send_time,
                    create_time,
                    ..MsgData::default()
                };
                assert_eq!(check_times(&msg).is_ok(), good, "{time}");
            }
        }
    }

    #[test]
    fn attached_info_is_an_object_or_nothing() {
        for (given, kept) in [
            (r#"{"a":1}"#, true),
            ("[]", false),
            ("null", false),
            ("{", false),
            (r#"{"a":1}x"#, false),
        ] {
            let mut msg = MsgData {
                attached_info: given.to_owned(),
                ..MsgData::default()
            };
            tidy_attached_info(&mut msg);
            assert_eq!(!msg.attached_info.is_empty(), kept, "{given}");
        }
        let deep = "{\"a\":".repeat(10_000);
        let mut msg = MsgData {
            attached_info: deep,
            ..MsgData::default()
        };
        tidy_attached_info(&mut msg);
        assert_eq!(msg.attached_info, "");
    }
}
