//! What `magpie up` prints when it is ready: one line of JSON for scripts, or what a newcomer does next.

use std::net::SocketAddr;

use serde_json::json;

use crate::{
    config::{Config, Listen},
    output::{reachable, say},
};

/// Prints it.
pub(super) fn ready(config: &Config, bound: &Listen, as_json: bool) {
    let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{}", reachable(address));
    let (ws, api) = (url("ws", bound.ws), url("http", bound.api));
    let (ops, grpc) = (url("http", bound.ops), url("http", bound.grpc));
    let dir = config.data.dir.display().to_string();
    let admin = config
        .shared
        .admin_user_ids
        .first()
        .map_or("", String::as_str);
    if as_json {
        say(&json!({ "event": "ready", "ws": ws, "api": api, "ops": ops, "grpc": grpc, "data_dir": dir, "admin": admin }).to_string());
        return;
    }
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "magpie".to_owned());
    let command = format!("{} admin", quoted(&program));
    let mut place = String::new();
    if dir != Config::default().data.dir.display().to_string() {
        place.push_str(&format!(" --data-dir {}", quoted(&dir)));
    }
    let secret_file = &config.data.secret_file;
    if !secret_file.as_os_str().is_empty() {
        place.push_str(&format!(
            " --secret-file {}",
            quoted(&secret_file.display().to_string())
        ));
    }
    if bound.api != Listen::default().api {
        place.push_str(&format!(" --api {api}"));
    }
    say(&format!(
        "\nMagpie is ready; it keeps everything in {dir}.\n\n\
         \x20 WebSocket  {ws}   OpenIM client SDKs\n\
         \x20 REST API   {api} your back end, and the SDKs\n\
         \x20 gRPC       {grpc} your back end\n\
         \x20 operators  {ops} /readyz, /metrics\n\n\
         Send a first message, from another terminal:\n\n\
         \x20 {command} create-user alice{place}\n\
         \x20 {command} send --to alice \"hello alice\"{place}\n\n\
         Ctrl-C stops it; nothing is lost.\n"
    ));
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
