//! `docs/coverage.md` is written from the code: the table of routes and each service's list of missing methods.
//!
//! `UPDATE=1 cargo test -p magpie-api --test coverage` writes the file; without it the test compares.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use magpie_api::{
    contract::rpcs,
    routes::{self, Method},
};
use magpie_discovery::name;
use magpie_service::grpc::SERVICES;

/// What is missing: service in the registry, method.
fn lacking() -> Vec<(&'static str, &'static str)> {
    [
        (name::AUTH, magpie_auth::UNIMPLEMENTED),
        (name::USER, magpie_user::UNIMPLEMENTED),
        (name::FRIEND, magpie_friend::UNIMPLEMENTED),
        (name::GROUP, magpie_group::UNIMPLEMENTED),
        (name::CONVERSATION, magpie_conversation::UNIMPLEMENTED),
        (name::MSG, magpie_msg::UNIMPLEMENTED),
        (name::PUSH, magpie_push::UNIMPLEMENTED),
        (name::THIRD, magpie_third::UNIMPLEMENTED),
        (name::RTC, magpie_rtc_signaling::UNIMPLEMENTED),
        (name::GATEWAY, magpie_gateway::UNIMPLEMENTED),
    ]
    .into_iter()
    .flat_map(|(service, methods)| methods.iter().map(move |method| (service, *method)))
    .collect()
}

#[cfg(test)]
fn page() -> String {
    let lacking = lacking();
    let all: Vec<_> = routes::all().collect();
    let built = all.iter().filter(|r| r.is_built(&lacking)).count();
    let mut page = String::from(
        "# Coverage of the protocol\n\nWritten by `UPDATE=1 cargo test -p magpie-api --test coverage` from the code; a test compares.\n\n\
         What is not built answers HTTP status 501 with code 1000 on REST and `UNIMPLEMENTED` on gRPC, never an empty success.\n\n\
         *for* names who may call a route besides administrators of the application: the user in a field of the request, or members of a group. \
         The running API describes what is built of it, with all bodies, as an OpenAPI document at `/openapi.json`.\n",
    );
    writeln!(
        page,
        "\n## REST routes: {built} of {}\n\n| route | for | RPCs | built |\n|---|---|---|---|",
        all.len()
    )
    .unwrap();
    for route in all {
        let get = if route.method == Method::Get {
            "GET "
        } else {
            ""
        };
        let rpcs: Vec<_> = route
            .rpcs
            .iter()
            .map(|(service, method)| format!("{service}.{method}"))
            .collect();
        let mark = if route.is_built(&lacking) {
            "yes"
        } else {
            "–"
        };
        writeln!(
            page,
            "| {get}`{}` | {} | {} | {mark} |",
            route.path,
            route.access,
            rpcs.join(", ")
        )
        .unwrap();
    }
    let rpcs = rpcs();
    let missing =
        |service: &str, method: &str| lacking.iter().any(|(s, m)| *s == service && *m == method);
    let built = rpcs
        .iter()
        .filter(|rpc| !missing(rpc.owner, &rpc.method))
        .count();
    writeln!(
        page,
        "\n## RPCs: {built} of {}\n\n| service | built | not built |\n|---|---|---|",
        rpcs.len()
    )
    .unwrap();
    for (full, short) in SERVICES {
        let names = |wanted: bool| {
            let of = rpcs
                .iter()
                .filter(|rpc| rpc.service == *full)
                .filter(|rpc| missing(short, &rpc.method) == wanted);
            of.map(|rpc| rpc.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        writeln!(page, "| `{full}` | {} | {} |", names(false), names(true)).unwrap();
    }
    page
}

#[test]
fn the_committed_page_is_what_the_code_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coverage.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, page()).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == page(),
        "docs/coverage.md is out of date: run UPDATE=1 cargo test -p magpie-api --test coverage"
    );
}

#[test]
fn what_the_tables_name_exists_in_the_contract() {
    let known: BTreeSet<_> = rpcs()
        .into_iter()
        .map(|rpc| (rpc.owner, rpc.method))
        .collect();
    let named = routes::all()
        .flat_map(|route| route.rpcs.iter().copied())
        .chain(lacking());
    for (service, method) in named {
        assert!(
            known.contains(&(service, method.to_owned())),
            "{service}.{method}"
        );
    }
}
