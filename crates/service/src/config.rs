//! Configuration: defaults, then a TOML file, then `MAGPIE_*` variables, then flags; each value remembers where it is from.
//!
//! A program's configuration is one serde struct, grouped by service. Its serialised default is the list of known keys, so
//! an unknown one is an error that names the closest, and a variable's name is its key in capitals with `_` for the dots
//! (`MAGPIE_GATEWAY_MAX_CONNECTIONS` is `gateway.max_connections`). Nothing here prints a secret: [`Secret`] doesn't.

mod env;
mod keys;
mod secret;

use std::path::{Path, PathBuf};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::{Actual, Kind},
    providers::{Format, Serialized, Toml},
    value::{Dict, Map, Value},
};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{env::name_of, secret::Secret};

/// Why a configuration can't be used; one line, says where and what.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key nobody reads.
    #[error("unknown setting {key} in {origin}{}", .closest.as_ref().map(|c| format!("; did you mean {c}?")).unwrap_or_default())]
    Unknown {
        /// The key, or the variable's name.
        key: String,
        /// Where it is written.
        origin: String,
        /// A known one that looks like it.
        closest: Option<String>,
    },
    /// A file that can't be read.
    #[error("can't read {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A value of the wrong type, or a file that is not TOML.
    #[error("{0}")]
    Value(String),
}

/// A value given on the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// Dotted key.
    pub key: &'static str,
    /// How the user named it.
    pub name: &'static str,
    /// The value.
    pub value: String,
}

/// Where values come from besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// Variables of the process; only those with the prefix `MAGPIE_` are looked at.
    pub env: Vec<(String, String)>,
    /// Short names of variables: (variable, key).
    pub aliases: &'static [(&'static str, &'static str)],
    /// Variables with the prefix that are read elsewhere.
    pub ignored: &'static [&'static str],
    /// The command line.
    pub flags: Vec<Flag>,
}

/// One value of the effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted key.
    pub key: String,
    /// The value as TOML; secrets are redacted.
    pub value: String,
    /// `default`, a file, a variable or a flag.
    pub origin: String,
}

/// A configuration and where each of its values is from.
#[derive(Debug, Clone)]
pub struct Loaded<C> {
    /// The configuration.
    pub config: C,
    /// Every value, in the order of the struct's keys.
    pub settings: Vec<Setting>,
}

/// Loads a configuration.
pub fn load<C: Default + Serialize + DeserializeOwned>(
    sources: &Sources,
) -> Result<Loaded<C>, ConfigError> {
    let known = keys::Keys::of(&defaults::<C>()?);
    let mut figment = Figment::from(Serialized::defaults(C::default()));
    if let Some(path) = &sources.file {
        figment = figment.merge(file(path, &known)?);
    }
    figment = figment.merge(env::layer(sources, &known)?);
    for flag in &sources.flags {
        let value = known.parse(flag.key, &flag.value);
        figment = figment.merge(Layer {
            name: format!("flag {}", flag.name),
            key: flag.key.to_owned(),
            value,
        });
    }
    let config: C = figment
        .extract()
        .map_err(|e| ConfigError::Value(explain(&figment, &e)))?;
    let effective = Value::serialize(&config).map_err(|e| ConfigError::Value(one_line(&e)))?;
    let settings = keys::leaves(&effective)
        .into_iter()
        .map(|(key, value)| Setting {
            origin: origin(&figment, &key),
            value: keys::show(&value),
            key,
        })
        .collect();
    Ok(Loaded { config, settings })
}

/// The default of every key, in the order of the keys: what the reference page lists.
pub fn defaults_of<C: Default + Serialize>() -> Result<Vec<(String, String)>, ConfigError> {
    Ok(keys::leaves(&defaults::<C>()?)
        .into_iter()
        .map(|(key, value)| (key, keys::show(&value)))
        .collect())
}

fn defaults<C: Default + Serialize>() -> Result<Value, ConfigError> {
    Value::serialize(C::default()).map_err(|e| ConfigError::Value(one_line(&e)))
}

fn file(path: &Path, known: &keys::Keys) -> Result<figment::providers::Data<Toml>, ConfigError> {
    let failed = |reason: String| ConfigError::File {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let values: Dict = Toml::from_str(&text).map_err(|e| failed(first_line(&e.to_string())))?;
    for (key, _) in keys::leaves(&Value::from(values)) {
        known.check(&key, || path.display().to_string())?;
    }
    Ok(Toml::file_exact(path))
}

fn origin(figment: &Figment, key: &str) -> String {
    let found = figment.find_metadata(key).or_else(|| {
        let (map, name) = map_of(figment, key)?;
        figment.get_metadata(map.get(name)?.tag())
    });
    let Some(metadata) = found else {
        return "default".to_owned();
    };
    match &metadata.source {
        Some(figment::Source::File(path)) => format!("file {}", path.display()),
        Some(figment::Source::Code(_)) | None if metadata.name.contains("::") => {
            "default".to_owned()
        }
        _ => metadata.name.to_string(),
    }
}

/// The map of a key whose last name has dots itself, and that name.
fn map_of<'a>(figment: &Figment, key: &'a str) -> Option<(Dict, &'a str)> {
    let mut dots = key.match_indices('.');
    dots.find_map(|(at, _)| {
        let (path, name) = key.split_at_checked(at)?;
        let map = figment.find_value(path).ok()?.into_dict()?;
        let name = name.strip_prefix('.')?;
        map.contains_key(name).then_some((map, name))
    })
}

/// The error, and what a value of this kind looks like where the parser does not say it.
fn explain(figment: &Figment, error: &figment::Error) -> String {
    let text = one_line(error);
    match &error.kind {
        Kind::Message(kind) if kind == "invalid socket address syntax" => {
            let value = figment.find_value(&error.path.join("."));
            let value = value.map(|v| keys::show(&v)).unwrap_or_default();
            format!("{text}: {value} is not of the form IP:port, like 127.0.0.1:10001")
        }
        Kind::InvalidType(Actual::Str(digits), _) if is_integer(digits) => {
            format!("{text}: the number is out of range")
        }
        Kind::InvalidValue(Actual::Unsigned(_) | Actual::Signed(_), _) => {
            format!("{text}: the number is out of range")
        }
        _ => text,
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn one_line(error: &figment::Error) -> String {
    first_line(&error.to_string().replace("default.", ""))
}

fn first_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// One value from a variable or a flag.
struct Layer {
    name: String,
    key: String,
    value: Value,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        Ok(nested
            .into_dict()
            .map(|dict| Profile::Default.collect(dict))
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
