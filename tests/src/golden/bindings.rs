//! What stands for what: ids, tokens and times of the recording against those of this run.
//!
//! A value that differs from run to run is bound when it is first seen; from then on the recorded value means the bound one, in
//! answers and in requests. Ids are bound one to one. A recorded token may stand for several real ones, because the recorded
//! server issued the same token twice within a second; requests use the newest. Times are compared by their distance from the
//! start of the case, and equal times under one name must stay equal, unless they are whole seconds.

use std::collections::HashMap;

use serde_json::Value;

use magpie_types::time::{now_ms, utc_day};

use crate::token::{Claims, Signature, mint, verify};

/// The secret of the recorded server; in requests it stands for that of the server under test.
const RECORDED_SECRET: &str = "openIM123";
/// Signs tokens that must be refused.
const FOREIGN_SECRET: &str = "a-secret-that-the-server-does-not-have";
/// How far issued tokens are dated back, seconds.
const BACKDATED_S: i64 = 5;
/// How far a time may be from where the recording has it, milliseconds: recordings have pauses that a replay leaves out.
const TIME_SLACK_MS: i64 = 180_000;

/// Translations of one run.
#[derive(Debug, Clone)]
pub(crate) struct Bindings {
    secret: String,
    ids: HashMap<String, String>,
    recorded_of: HashMap<String, String>,
    tokens: HashMap<String, Vec<String>>,
    times: HashMap<(String, i64), i64>,
    start_ms: i64,
    recorded_start_s: Option<i64>,
    recorded_now_s: i64,
}

impl Bindings {
    /// Nothing bound yet. `start_ms` is the time at which the run starts.
    pub(crate) fn new(secret: &str, start_ms: i64) -> Self {
        Self {
            secret: secret.to_owned(),
            ids: HashMap::new(),
            recorded_of: HashMap::new(),
            tokens: HashMap::new(),
            times: HashMap::new(),
            start_ms,
            recorded_start_s: None,
            recorded_now_s: 0,
        }
    }

    /// Whether a value that is the same in every run is what it should be.
    pub(crate) fn same_text(&self, recorded: &str, actual: &str) -> bool {
        if let Some(tokens) = self.tokens.get(recorded) {
            return tokens.iter().any(|token| token == actual);
        }
        match self.ids.get(recorded) {
            Some(bound) => bound == actual,
            None => self.conversation(recorded) == actual,
        }
    }

    /// The conversation that a recorded one stands for: ids of groups may be made by the server.
    pub(crate) fn conversation(&self, recorded: &str) -> String {
        let bound = recorded.split_once('_').and_then(|(kind, id)| {
            let bound = self.ids.get(id)?;
            Some(format!("{kind}_{bound}"))
        });
        bound.unwrap_or_else(|| recorded.to_owned())
    }

    /// The key of an event as it is in this run: it may end with a conversation.
    pub(crate) fn key(&self, recorded: &str) -> String {
        match recorded.rsplit_once(' ') {
            Some((event, about)) => format!("{event} {}", self.conversation(about)),
            None => recorded.to_owned(),
        }
    }

    /// Whether a number is what it should be: itself, or the time that it stands for.
    pub(crate) fn same_number(
        &self,
        recorded: &serde_json::Number,
        actual: &serde_json::Number,
    ) -> bool {
        let (Some(time), Some(now)) = (recorded.as_i64(), actual.as_i64()) else {
            return recorded == actual;
        };
        let mut bound = self
            .times
            .iter()
            .filter(|((_, at), _)| *at == time)
            .map(|(_, bound)| *bound)
            .peekable();
        if bound.peek().is_none() {
            time == now
        } else {
            bound.any(|bound| bound == now)
        }
    }

    /// Binds a text that differs from run to run. Says what is wrong when it can't be what was recorded.
    pub(crate) fn bind_text(
        &mut self,
        name: &str,
        recorded: &str,
        actual: &str,
    ) -> Result<(), String> {
        if is_token(recorded) {
            return self.bind_token(recorded, actual);
        }
        if actual.is_empty() != recorded.is_empty() {
            return Err("one is empty".to_owned());
        }
        if name == "serverMsgID"
            && !(actual.len() == 32
                && actual
                    .bytes()
                    .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)))
        {
            return Err("not 32 hex digits".to_owned());
        }
        let bound = self
            .ids
            .entry(recorded.to_owned())
            .or_insert_with(|| actual.to_owned());
        let origin = self
            .recorded_of
            .entry(actual.to_owned())
            .or_insert_with(|| recorded.to_owned());
        if bound != actual {
            return Err(format!("stands for {bound} elsewhere"));
        }
        if origin != recorded {
            return Err(format!("also stands for the recorded {origin}"));
        }
        Ok(())
    }

    fn bind_token(&mut self, recorded: &str, actual: &str) -> Result<(), String> {
        let (then, ..) =
            verify(recorded, RECORDED_SECRET).ok_or("the recorded token can't be read")?;
        let (now, _, valid) = verify(actual, &self.secret).ok_or("not a token")?;
        let issued_s = then.iat + BACKDATED_S;
        self.recorded_start_s.get_or_insert(issued_s);
        self.recorded_now_s = self.recorded_now_s.max(issued_s);
        self.tokens
            .entry(recorded.to_owned())
            .or_default()
            .push(actual.to_owned());
        if (&then.user_id, then.platform_id, then.exp - then.iat)
            != (&now.user_id, now.platform_id, now.exp - now.iat)
        {
            return Err("the claims differ".to_owned());
        }
        if !valid {
            return Err("not signed with the server's secret".to_owned());
        }
        self.near(then.iat, now.iat)
    }

    /// Binds a time that differs from run to run, in milliseconds or seconds. Whole seconds of two calls are the same by chance.
    pub(crate) fn bind_time(
        &mut self,
        name: &str,
        recorded: i64,
        actual: i64,
    ) -> Result<(), String> {
        self.near(recorded, actual)?;
        if is_seconds(recorded) {
            return Ok(());
        }
        let bound = *self
            .times
            .entry((name.to_owned(), recorded))
            .or_insert(actual);
        if bound == actual {
            Ok(())
        } else {
            Err(format!("was {bound} elsewhere"))
        }
    }

    fn near(&self, recorded: i64, actual: i64) -> Result<(), String> {
        let unit_ms = if is_seconds(recorded) { 1000 } else { 1 };
        let Some(start_s) = self.recorded_start_s else {
            return Err("a time before the first token".to_owned());
        };
        let then = recorded * unit_ms - start_s * 1000;
        let now = actual.saturating_mul(unit_ms) - self.start_ms;
        if (then - now).abs() <= TIME_SLACK_MS {
            Ok(())
        } else {
            Err(format!("{} s from its place", (now - then) / 1000))
        }
    }

    /// Translates a recorded request into one for this run.
    pub(crate) fn request(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) if text == RECORDED_SECRET => Value::from(self.secret.as_str()),
            Value::String(text) => Value::from(self.request_text(text)),
            Value::Array(items) => items.iter().map(|item| self.request(item)).collect(),
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, member)| (name.clone(), self.request(member)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    /// Translates every token and id in a text.
    pub(crate) fn request_text(&mut self, text: &str) -> String {
        if let Some(bound) = self.ids.get(text) {
            return bound.clone();
        }
        if text == utc_day(self.recorded_now_s * 1000) {
            return utc_day(now_ms());
        }
        let mut translated = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("eyJ") {
            let (before, from) = rest.split_at(at);
            let end = from
                .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
                .unwrap_or(from.len());
            let (token, after) = from.split_at(end);
            translated.push_str(before);
            translated.push_str(&if is_token(token) {
                self.token(token)
            } else {
                token.to_owned()
            });
            rest = after;
        }
        translated + rest
    }

    /// Translates the ids in a body; they have the same length, so the message around them stays valid.
    pub(crate) fn request_bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (recorded, actual) in self
            .ids
            .iter()
            .filter(|(recorded, actual)| !recorded.is_empty() && recorded.len() == actual.len())
        {
            let places = bytes
                .windows(recorded.len())
                .enumerate()
                .filter(|(_, found)| *found == recorded.as_bytes());
            for at in places.map(|(at, _)| at).collect::<Vec<_>>() {
                bytes.splice(at..at + recorded.len(), actual.bytes());
            }
        }
        bytes
    }

    /// The newest token that a recorded one stands for; one that was made by hand is made again, with the same offsets.
    fn token(&mut self, recorded: &str) -> String {
        if let Some(newest) = self.tokens.get(recorded).and_then(|tokens| tokens.last()) {
            return newest.clone();
        }
        let Some((claims, signature, valid)) = verify(recorded, RECORDED_SECRET) else {
            return recorded.to_owned();
        };
        let made_s = claims.iat + BACKDATED_S;
        if made_s - self.recorded_now_s < 300 {
            self.recorded_now_s = self.recorded_now_s.max(made_s);
        }
        let shift = now_ms() / 1000 - self.recorded_now_s;
        let shifted = Claims {
            exp: claims.exp + shift,
            iat: claims.iat + shift,
            nbf: claims.nbf.map(|time| time + shift),
            ..claims
        };
        let secret = if valid || signature == Signature::None {
            self.secret.as_str()
        } else {
            FOREIGN_SECRET
        };
        let made = mint(&shifted, signature, secret);
        self.tokens.insert(recorded.to_owned(), vec![made.clone()]);
        made
    }
}

fn is_seconds(time: i64) -> bool {
    time < 100_000_000_000
}

/// Whether a text looks like a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}
