//! The signed form of a token: HS256 over user, platform and times, with a random id so that no two tokens are equal.
//!
//! Only form, signature and times are checked here (gateway.md 8.2: 1503, 1505, 1501, 1504); whether the token was issued
//! and has not been kicked is the matter of [`crate::tokens`].

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use magpie_types::{Code, Error, Result, time::now_ms};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// A token that was issued this long before now is valid everywhere, even where the clock is a little late; seconds.
const BACKDATE: i64 = 5;

/// Longest token that is looked at, in bytes; ours have about 300.
const MAX_LEN: usize = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Whose it is.
    #[serde(rename = "UserID")]
    pub(crate) user_id: String,
    /// Platform number.
    #[serde(rename = "PlatformID")]
    pub(crate) platform_id: i32,
    /// When it ends, Unix seconds.
    pub(crate) exp: i64,
    /// When it was issued, Unix seconds.
    #[serde(default)]
    iat: i64,
    /// Random.
    #[serde(default)]
    jti: String,
}

/// The keys made of the shared secret.
pub(crate) struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    now: Validation,
    whenever: Validation,
}

impl Signer {
    pub(crate) fn new(secret: &SecretString) -> Self {
        let secret = secret.expose_secret().as_bytes();
        let mut now = Validation::new(Algorithm::HS256);
        now.leeway = 0;
        now.validate_nbf = true;
        now.validate_aud = false;
        let mut whenever = now.clone();
        whenever.validate_exp = false;
        whenever.validate_nbf = false;
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            now,
            whenever,
        }
    }

    /// A new token for this user and platform that is valid for `life` seconds, with the second at which it ends.
    pub(crate) fn issue(
        &self,
        user_id: &str,
        platform_id: i32,
        life: i64,
    ) -> Result<(String, i64)> {
        let now = now_ms() / 1000;
        let claims = Claims {
            user_id: user_id.to_owned(),
            platform_id,
            exp: now + life,
            iat: now - BACKDATE,
            jti: uuid::Uuid::new_v4().simple().to_string(),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(Error::internal)?;
        Ok((token, claims.exp))
    }

    /// The claims of a token whose signature and times are right.
    pub(crate) fn check(&self, token: &str) -> Result<Claims> {
        let claims = self.decode(token, &self.now)?;
        if claims.iat > now_ms() / 1000 {
            return Err(Error::new(
                Code::TOKEN_UNKNOWN,
                "the token was issued in the future",
            ));
        }
        Ok(claims)
    }

    /// The claims of a token that we signed, whether or not its time is over.
    pub(crate) fn read(&self, token: &str) -> Result<Claims> {
        self.decode(token, &self.whenever)
    }

    fn decode(&self, token: &str, validation: &Validation) -> Result<Claims> {
        if token.len() > MAX_LEN {
            return Err(Code::TOKEN_MALFORMED.into());
        }
        match jsonwebtoken::decode::<Claims>(token, &self.decoding, validation) {
            Ok(data) => Ok(data.claims),
            Err(e) => Err(match e.kind() {
                ErrorKind::ExpiredSignature => Code::TOKEN_EXPIRED.into(),
                ErrorKind::ImmatureSignature => Code::TOKEN_NOT_VALID_YET.into(),
                ErrorKind::InvalidSignature
                | ErrorKind::InvalidAlgorithm
                | ErrorKind::MissingRequiredClaim(_) => Code::TOKEN_UNKNOWN.into(),
                _ if names_other_algorithm(token) => Code::TOKEN_UNKNOWN.into(),
                _ => Code::TOKEN_MALFORMED.into(),
            }),
        }
    }
}

/// Whether this is a token in form, signed with an algorithm that we don't accept (`none` for one).
fn names_other_algorithm(token: &str) -> bool {
    #[derive(Deserialize)]
    struct AnyHeader {
        alg: String,
    }
    let mut parts = token.split('.');
    let header = parts.next().and_then(|h| URL_SAFE_NO_PAD.decode(h).ok());
    let header = header.and_then(|h| serde_json::from_slice::<AnyHeader>(&h).ok());
    parts.count() == 2 && header.is_some_and(|h| h.alg != "HS256")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secret: &str) -> Signer {
        Signer::new(&SecretString::from(secret))
    }

    fn code(result: Result<Claims>) -> Code {
        result.unwrap_err().code()
    }

    fn signed(header: &Header, claims: &serde_json::Value) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(b"s")).unwrap()
    }

    #[test]
    fn an_issued_token_says_whose_it_is_and_is_never_the_same_twice() {
        let s = signer("s");
        let (a, exp) = s.issue("u1", 5, 60).unwrap();
        let (b, _) = s.issue("u1", 5, 60).unwrap();
        assert_ne!(a, b);
        let claims = s.check(&a).unwrap();
        assert_eq!(
            (claims.user_id.as_str(), claims.platform_id, claims.exp),
            ("u1", 5, exp)
        );
    }

    #[test]
    fn every_defect_has_its_code() {
        let s = signer("s");
        let now = now_ms() / 1000;
        let claims = |exp: i64, iat: i64, nbf: i64| serde_json::json!({"UserID": "u1", "PlatformID": 5, "exp": exp, "iat": iat, "nbf": nbf});
        let hs256 = Header::new(Algorithm::HS256);
        assert!(
            s.check(&signed(&hs256, &claims(now + 60, now, now)))
                .is_ok()
        );
        assert_eq!(
            code(s.check(&signed(&hs256, &claims(now - 5, now - 60, now)))),
            Code::TOKEN_EXPIRED
        );
        assert_eq!(
            code(s.check(&signed(&hs256, &claims(now + 60, now + 30, now)))),
            Code::TOKEN_UNKNOWN
        );
        assert_eq!(
            code(s.check(&signed(&hs256, &claims(now + 60, now, now + 30)))),
            Code::TOKEN_NOT_VALID_YET
        );
        assert_eq!(
            code(s.check(&signed(
                &Header::new(Algorithm::HS512),
                &claims(now + 60, now, now)
            ))),
            Code::TOKEN_UNKNOWN
        );
        assert_eq!(
            code(s.check(&signer("other").issue("u1", 5, 60).unwrap().0)),
            Code::TOKEN_UNKNOWN
        );
        let none = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
            URL_SAFE_NO_PAD.encode("{}")
        );
        assert_eq!(code(s.check(&none)), Code::TOKEN_UNKNOWN);
        for garbage in [
            "",
            "garbage",
            "a.b.c",
            "..",
            "Bearer a.b.c",
            &"x".repeat(MAX_LEN + 1),
        ] {
            assert_eq!(code(s.check(garbage)), Code::TOKEN_MALFORMED, "{garbage}");
        }
    }

    #[test]
    fn an_expired_token_can_still_be_read() {
        let (token, _) = signer("s").issue("u1", 5, -60).unwrap();
        assert_eq!(signer("s").read(&token).unwrap().user_id, "u1");
        assert!(signer("other").read(&token).is_err());
    }
}
