//! Tokens made by hand: valid ones, and ones that a server must refuse.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose token it is.
    #[serde(rename = "UserID")]
    pub user_id: String,
    /// For which platform.
    #[serde(rename = "PlatformID")]
    pub platform_id: i32,
    /// End, Unix seconds.
    pub exp: i64,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Not before, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Whatever else is in it.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// HMAC with SHA-256, the only accepted one.
    Hs256,
    /// HMAC with SHA-512.
    Hs512,
    /// No signature at all (`alg` none).
    None,
}

/// Makes a token.
///
/// # Panics
/// Never with an HMAC secret: claims are plain JSON.
#[must_use]
pub fn mint(claims: &Claims, signature: Signature, secret: &str) -> String {
    let algorithm = match signature {
        Signature::Hs256 => Algorithm::HS256,
        Signature::Hs512 => Algorithm::HS512,
        Signature::None => {
            let body = serde_json::to_vec(claims).expect("claims are plain JSON");
            let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
            return format!("{header}.{}.", URL_SAFE_NO_PAD.encode(body));
        }
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key)
        .expect("an HMAC key signs plain JSON")
}

/// What a token says and how it is signed; `None` when it isn't one.
#[must_use]
pub fn verify(token: &str, secret: &str) -> Option<(Claims, Signature, bool)> {
    let (header, rest) = token.split_once('.')?;
    let (body, _) = rest.split_once('.')?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
    let (signature, algorithm) = match header["alg"].as_str()? {
        "HS256" => (Signature::Hs256, Algorithm::HS256),
        "HS512" => (Signature::Hs512, Algorithm::HS512),
        _ => return Some((claims, Signature::None, false)),
    };
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_secret(secret.as_bytes());
    let valid = jsonwebtoken::decode::<Value>(token, &key, &validation).is_ok();
    Some((claims, signature, valid))
}
