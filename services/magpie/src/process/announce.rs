//! What a process prints when it is ready: one line of JSON for scripts, or what a newcomer does next.

use std::net::SocketAddr;

use serde_json::json;

use super::{EngineSet, Plan, ports::Bound};
use crate::{
    config::{Config, Listen},
    output::{reachable, say},
};

/// Prints it.
pub(super) fn ready(config: &Config, plan: &Plan, bound: &Bound) {
    let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{}", reachable(address));
    let ws = bound.ws.map(|at| url("ws", at));
    let api = bound.api.map(|at| url("http", at));
    let grpc = bound.grpc.map(|at| url("http", at));
    let ops = url("http", bound.ops);
    let embedded = plan.engines == EngineSet::Embedded;
    let dir = embedded.then(|| config.data.dir.display().to_string());
    let admin = config
        .shared
        .admin_user_ids
        .first()
        .map_or("", String::as_str);
    if plan.json {
        let mut line =
            json!({ "event": "ready", "ops": ops, "admin": admin, "services": plan.services });
        let optional = [("ws", ws), ("api", api), ("grpc", grpc), ("data_dir", dir)];
        for (name, value) in optional {
            if let Some(value) = value {
                line[name] = value.into();
            }
        }
        return say(&line.to_string());
    }
    let mut text = match &dir {
        Some(dir) => format!("\nMagpie is ready; it keeps everything in {dir}.\n\n"),
        None => format!("\nReady: {}.\n\n", plan.services.join(", ")),
    };
    let rows = [
        ("WebSocket", &ws, "OpenIM client SDKs"),
        ("REST API", &api, "your back end, and the SDKs"),
        ("gRPC", &grpc, "your back end"),
        ("operators", &Some(ops), "/readyz, /metrics"),
    ];
    for (name, url, whom) in rows {
        if let Some(url) = url {
            text.push_str(&format!("  {name:<10} {url:<22} {whom}\n"));
        }
    }
    if let (Some(api), Some(at)) = (&api, bound.api) {
        let place = place(config, dir.as_deref(), api, at);
        let program = std::env::args()
            .next()
            .unwrap_or_else(|| "magpie".to_owned());
        let command = format!("{} admin", quoted(&program));
        text.push_str(&format!(
            "\nSend a first message, from another terminal:\n\n\
             \x20 {command} create-user alice{place}\n\
             \x20 {command} send --to alice \"hello alice\"{place}\n"
        ));
    }
    say(&format!("{text}\nCtrl-C stops it; nothing is lost.\n"));
}

/// The flags with which `magpie admin` finds this process and its secret.
fn place(config: &Config, dir: Option<&str>, api: &str, at: SocketAddr) -> String {
    let mut place = String::new();
    if let Some(dir) = dir.filter(|dir| *dir != Config::default().data.dir.display().to_string()) {
        place.push_str(&format!(" --data-dir {}", quoted(dir)));
    }
    let secret_file = &config.data.secret_file;
    if !secret_file.as_os_str().is_empty() {
        place.push_str(&format!(
            " --secret-file {}",
            quoted(&secret_file.display().to_string())
        ));
    }
    if at != Listen::default().api {
        place.push_str(&format!(" --api {api}"));
    }
    place
}

/// A word of a shell command.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell_when_they_must_be() {
        assert_eq!(quoted("./data"), "./data");
        assert_eq!(quoted("it's here"), "'it'\\''s here'");
    }
}
