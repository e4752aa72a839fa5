//! `MAGPIE_*` variables as a layer.

use figment::Figment;

use super::{ConfigError, Layer, Sources, keys};

const PREFIX: &str = "MAGPIE_";

/// The variable of a key.
pub fn name_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

pub(super) fn layer(sources: &Sources, known: &keys::Keys) -> Result<Figment, ConfigError> {
    let mut figment = Figment::new();
    for (name, text) in &sources.env {
        if !name.starts_with(PREFIX)
            || sources.ignored.contains(&name.as_str())
            || is_service_link(name)
        {
            continue;
        }
        let alias = sources
            .aliases
            .iter()
            .find(|(variable, _)| variable == name)
            .map(|(_, key)| *key);
        let Some(key) = alias.or_else(|| known.names().find(|key| name_of(key) == *name)) else {
            let names: Vec<String> = known.names().map(name_of).collect();
            return Err(ConfigError::Unknown {
                key: name.clone(),
                origin: "the environment".to_owned(),
                closest: keys::closest(name, names.iter().map(String::as_str)),
            });
        };
        let value = known.parse(key, text);
        figment = figment.merge(Layer {
            name: format!("variable {name}"),
            key: key.to_owned(),
            value,
        });
    }
    Ok(figment)
}

/// Kubernetes adds variables for every Service of the namespace; one called `magpie-…` yields names with our prefix.
fn is_service_link(name: &str) -> bool {
    let port = |rest: &str| rest.chars().next().is_none_or(|c| c == '_');
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.split_once("_PORT").is_some_and(|(_, rest)| {
            port(rest) && (rest.is_empty() || rest.contains("_TCP") || rest.contains("_UDP"))
        })
}
