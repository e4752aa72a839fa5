//! Who calls whom: `docs/calls.txt`, found in the sources and compared with what is committed (`UPDATE=1` rewrites it).
//!
//! A service calls another one through its generated client, so a call is the name of an RPC, used as a method, in a crate that
//! names the client. Modules of `crates/service` that call on behalf of services (notifications, profiles) count for those
//! which use them. Rolling updates need an order, so every cycle is listed: a new one is seen in review.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost_reflect::DescriptorPool;

/// The edge that serves all services to back ends; it forwards and is called by nobody.
const GRPC_PORT: &str = "gRPC port";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A generated client: whom it calls and how.
struct Client {
    /// The crate that implements it.
    service: String,
    /// Name of the method to name of the RPC.
    rpcs: BTreeMap<String, String>,
}

/// The service crates but the binary.
fn services() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("services")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name != "magpie" {
            found.insert(name, sources(&path.join("src")));
        }
    }
    found
}

/// The code below a folder, or of one file: without comments and without the tests at the end of a file.
fn sources(path: &Path) -> String {
    if path.is_dir() {
        let mut paths: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        paths.sort();
        return paths.iter().map(|path| sources(path)).collect();
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text
        .split_once("#[cfg(test)]\nmod ")
        .map_or(text.as_str(), |(code, _)| code);
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Every client of the contract whose server is in a service crate, by the name of its type.
fn clients(services: &BTreeMap<String, String>) -> BTreeMap<String, Client> {
    let pool = DescriptorPool::decode(magpie_proto::DESCRIPTOR_SET).unwrap();
    let mut clients = BTreeMap::new();
    for service in pool.services() {
        let name = service.name().to_upper_camel_case();
        let server = format!("{name}Server::new");
        let owner = services.iter().find(|(_, code)| code.contains(&server));
        if let Some((owner, _)) = owner {
            let rpcs = service
                .methods()
                .map(|m| (m.name().to_snake_case(), m.name().to_owned()))
                .collect();
            let service = owner.clone();
            clients.insert(format!("{name}Client"), Client { service, rpcs });
        }
    }
    clients
}

/// What stands before and after each occurrence of a whole word.
fn around<'a>(code: &'a str, word: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = word.len();
    code.match_indices(word)
        .map(move |(at, _)| (code.split_at(at).0, code.split_at(at + length).1))
        .filter(move |(before, after)| !before.ends_with(is_word) && !after.starts_with(is_word))
}

/// Whether the code uses this name as a method: after `.` or `::` or, in tables of routes, `=>`.
fn uses(code: &str, method: &str) -> bool {
    around(code, method).any(|(before, _)| {
        [".", "::", "=> "]
            .iter()
            .any(|marks| before.ends_with(marks))
    })
}

/// The calls in this code as `service.Rpc`.
fn calls(clients: &BTreeMap<String, Client>, code: &str, place: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, client) in clients {
        if around(code, name).next().is_none() {
            continue;
        }
        let before = found.len();
        let of_client = client.rpcs.iter().filter(|(method, _)| uses(code, method));
        found.extend(of_client.map(|(_, rpc)| format!("{}.{rpc}", client.service)));
        assert!(
            found.len() > before,
            "{place} names {name} and calls nothing"
        );
    }
    found
}

/// All calls of all services, those through modules of `crates/service` included.
fn all_calls() -> BTreeMap<String, BTreeSet<String>> {
    let services = services();
    let clients = clients(&services);
    let shared: BTreeMap<String, BTreeSet<String>> =
        fs::read_dir(root().join("crates/service/src"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "rs"))
            .map(|path| {
                let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
                let calls = calls(&clients, &sources(&path), &module);
                (module, calls)
            })
            .filter(|(_, calls)| !calls.is_empty())
            .collect();
    let mut all = BTreeMap::new();
    for (name, code) in &services {
        let mut found = calls(&clients, code, name);
        for (module, through) in shared.iter().filter(|(module, _)| *module != "grpc") {
            if code.contains(&format!("{module}::")) {
                found.extend(through.clone());
            }
        }
        all.insert(name.clone(), found);
    }
    all.insert(GRPC_PORT.to_owned(), shared["grpc"].clone());
    all
}

/// Every way from a service back to itself, each once, beginning at its first name.
fn cycles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    fn walk<'a>(
        edges: &'a BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<&'a str>,
        found: &mut Vec<String>,
    ) {
        let (first, last) = (way[0], way[way.len() - 1]);
        for next in edges.get(last).into_iter().flatten() {
            if next == first {
                found.push(format!("{} → {first}", way.join(" → ")));
            } else if next.as_str() > first && !way.contains(&next.as_str()) {
                way.push(next);
                walk(edges, way, found);
                way.pop();
            }
        }
    }
    let mut found = Vec::new();
    for start in edges.keys() {
        walk(edges, &mut vec![start], &mut found);
    }
    found
}

fn rendered() -> String {
    let all = all_calls();
    let mut text = String::from(
        "Who calls whom, one RPC a line. Made from the sources by tests/tests/e2e/calls.rs: UPDATE=1 cargo test -p magpie-tests calls\n\
         The gRPC port forwards every RPC of the contract to its service besides.\n\n",
    );
    for (caller, calls) in &all {
        if calls.is_empty() {
            text.push_str(&format!("{caller} calls nobody\n"));
        }
        for call in calls {
            text.push_str(&format!("{caller} → {call}\n"));
        }
    }
    let edges = all
        .iter()
        .map(|(caller, calls)| {
            let called = calls
                .iter()
                .filter_map(|c| c.split_once('.'))
                .map(|(s, _)| s.to_owned());
            (caller.clone(), called.collect())
        })
        .collect();
    text.push_str("\nCycles\n\n");
    for cycle in cycles(&edges) {
        text.push_str(&cycle);
        text.push('\n');
    }
    text
}

#[test]
fn the_committed_list_of_calls_is_that_of_the_sources() {
    let path = root().join("docs/calls.txt");
    let now = rendered();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let lines = |text: &str| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let (old, new) = (lines(&committed), lines(&now));
    let changes: Vec<_> = old
        .difference(&new)
        .map(|l| format!("- {l}"))
        .chain(new.difference(&old).map(|l| format!("+ {l}")))
        .collect();
    assert!(
        committed == now,
        "docs/calls.txt differs; if that is meant, run with UPDATE=1\n{}",
        changes.join("\n")
    );
}

#[test]
fn a_service_depends_on_no_other_services_crate() {
    for (name, _) in services() {
        let path = root().join("services").join(&name).join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        let all = services();
        let others: Vec<_> = ["dependencies", "build-dependencies"]
            .into_iter()
            .filter_map(|kind| manifest.get(kind)?.as_table())
            .flat_map(|table| table.keys())
            .filter(|dependency| {
                let service = dependency.strip_prefix("magpie-").unwrap_or_default();
                all.contains_key(service) || service == "server"
            })
            .collect();
        assert!(others.is_empty(), "{name} depends on {others:?}");
    }
}

#[test]
fn calls_are_found_where_code_names_a_client_and_uses_its_rpc() {
    let services = services();
    let clients = clients(&services);
    let code = "use x::MsgClient;\nMsgClient::new(c)\n    .send_msg(r).await; a.get_seq_message();";
    let found: Vec<_> = calls(&clients, code, "x").into_iter().collect();
    assert_eq!(found, ["msg.GetSeqMessage", "msg.SendMsg"]);
    assert!(calls(&clients, "a.send_msg(r)", "x").is_empty());
}

#[test]
fn every_cycle_is_listed_once() {
    let edges = [
        ("a", vec!["b"]),
        ("b", vec!["a", "b", "c"]),
        ("c", vec!["a"]),
    ];
    let edges = edges
        .into_iter()
        .map(|(from, to)| (from.to_owned(), to.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(cycles(&edges), ["a → b → a", "a → b → c → a", "b → b"]);
}
