//! Values that have the right type and can't work: found before anything is bound, each with its key and origin.

use std::collections::{HashMap, HashSet};

use magpie_service::config::Loaded;

use super::{Config, Listen};
use crate::output::Failure;

/// Settings where 0 has a meaning: switched off, or at once. For all others whose default is not 0 it stops the service.
const MAY_BE_ZERO: &[&str] = &[
    "telemetry.otlp_ratio",
    "shutdown.deadline_ms",
    "log.sync_spacing_ms",
    "store.commit_spacing_ms",
    "gateway.drain_timeout_ms",
    "gateway.max_subscriptions",
    "auth.cache_ms",
    "auth.multi_login_policy",
    "msg.head_wait_ms",
    "calls.retry_share",
    "kafka.linger_ms",
    "kafka.batch_spacing_ms",
];

/// Checks all of it.
pub(super) fn check(loaded: &Loaded<Config>) -> Result<(), Failure> {
    numbers(loaded)?;
    let config = &loaded.config;
    ports(&config.listen)?;
    let mut seen = HashSet::new();
    if let Some(twice) = config
        .shared
        .admin_user_ids
        .iter()
        .find(|id| !seen.insert(*id))
    {
        return wrong(format!("shared.admin_user_ids names {twice} twice"));
    }
    collector(&config.telemetry.otlp_endpoint)
}

fn wrong(text: String) -> Result<(), Failure> {
    Err(Failure::Usage(text))
}

fn numbers(loaded: &Loaded<Config>) -> Result<(), Failure> {
    let defaults: HashMap<String, String> = magpie_service::config::defaults_of::<Config>()?
        .into_iter()
        .collect();
    let number = |text: &str| text.parse::<f64>().ok();
    for setting in &loaded.settings {
        let default = defaults.get(&setting.key).and_then(|d| number(d));
        if default.is_some_and(|default| default > 0.0)
            && number(&setting.value).is_some_and(|value| value <= 0.0)
            && !MAY_BE_ZERO.contains(&setting.key.as_str())
        {
            return wrong(format!(
                "{} is {} ({}); it must be at least 1",
                setting.key, setting.value, setting.origin
            ));
        }
    }
    Ok(())
}

/// Two listeners can't have one address.
fn ports(listen: &Listen) -> Result<(), Failure> {
    let mut seen = HashMap::new();
    let all = [
        ("listen.ws", listen.ws),
        ("listen.api", listen.api),
        ("listen.ops", listen.ops),
        ("listen.grpc", listen.grpc),
        ("listen.internal", listen.internal),
    ];
    for (key, address) in all.into_iter().filter(|(_, a)| a.port() != 0) {
        if let Some(other) = seen.insert(address, key) {
            return wrong(format!("{other} and {key} are both {address}"));
        }
    }
    Ok(())
}

fn collector(endpoint: &str) -> Result<(), Failure> {
    let is_http = |uri: http::Uri| uri.scheme_str() == Some("http") && uri.host().is_some();
    if endpoint.is_empty() || endpoint.parse().is_ok_and(is_http) {
        return Ok(());
    }
    wrong(format!(
        "telemetry.otlp_endpoint is {endpoint}; it is an address like http://127.0.0.1:4317"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_may_be_zero_exist() {
        let known: HashSet<String> = magpie_service::config::defaults_of::<Config>()
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        for key in MAY_BE_ZERO {
            assert!(known.contains(*key), "{key}");
        }
    }

    #[test]
    fn a_collector_is_named_by_its_address() {
        for good in ["", "http://127.0.0.1:4317", "http://otel:4317/"] {
            assert!(collector(good).is_ok(), "{good}");
        }
        for bad in ["otel:4317", "https://otel:4317", "nonsense", "http://"] {
            assert!(collector(bad).is_err(), "{bad}");
        }
    }
}
