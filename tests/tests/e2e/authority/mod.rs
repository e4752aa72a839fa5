//! Who may call what, completely: every route and every RPC that is built, called by everybody there is.
//!
//! The routes' own table says who may; `requests` has what is asked, and who may call the RPCs that no route leads to.

mod requests;
mod rpc;
mod world;

use magpie_api::{
    contract,
    routes::{self, Access, Method},
};
use requests::{OF_SERVICES, SILENT, UNROUTED, request};
use rpc::Rpc;
use serde_json::json;
use world::{ROLES, Role, World};

/// Not the right person.
const NO_PERMISSION: i64 = 1002;
/// Not a member of the group, in two ways of saying it.
const NOT_IN_GROUP: [i64; 2] = [1203, 1004];
/// What a call without a token gets, on REST and by gRPC.
const NO_TOKEN: [i64; 2] = [1001, 1507];

/// Whether someone in this role may.
fn may(access: Access, role: Role) -> bool {
    use Role::*;
    match (access, role) {
        (Access::Open, _) | (_, Admin) => true,
        (_, Nobody) | (Access::Admin, _) => false,
        (Access::Any, _) => true,
        (Access::Own(_), role) => role == Own,
        (Access::OwnOrManager(..), role) => matches!(role, Own | Manager | Owner),
        (Access::Member(_), role) => matches!(role, Member | Manager | Owner),
        (Access::Manager(_), role) => matches!(role, Manager | Owner),
        (Access::Owner(_), role) => role == Owner,
    }
}

/// Whether a code says that the caller is the wrong one.
fn refuses(access: Access, code: i64) -> bool {
    let of_group = matches!(
        access,
        Access::Member(_) | Access::Manager(_) | Access::Owner(_)
    );
    code == NO_PERMISSION || of_group && NOT_IN_GROUP.contains(&code)
}

/// What is wrong with an answer's code, if anything.
fn judge(call: &str, access: Access, role: Role, code: i64) -> Option<String> {
    let good = match (may(access, role), role) {
        (true, _) => !refuses(access, code) && code != 500,
        (false, Role::Nobody) => NO_TOKEN.contains(&code),
        (false, _) if SILENT.contains(&call) => code == 0,
        (false, _) => refuses(access, code),
    };
    let verb = if may(access, role) { "may" } else { "may not" };
    (!good).then(|| format!("{call} ({access}): {role:?} {verb}, and got {code}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_for_those_whom_the_table_names() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    let mut called = 0;
    for route in routes::all().filter(|r| r.method == Method::Post) {
        let call = match route.rpcs {
            [(owner, method)] if route.is_plain() => format!("{owner}.{method}"),
            _ => route.path.to_owned(),
        };
        for role in ROLES {
            let place = world.place(role, route.access, &call).await;
            let body = request(&call, &place);
            let answer = world.rest(role).call(route.path, &body).await;
            // What is not built says so to everybody who has a token.
            if answer.status.as_u16() == 501 {
                continue;
            }
            called += 1;
            wrong.extend(judge(&call, route.access, role, answer.code()));
        }
    }
    println!("{called} calls of routes");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(called > 700, "{called}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rpc_is_for_those_whom_its_route_or_the_list_names() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    let mut called = 0;
    for rpc in contract::rpcs() {
        let call = format!("{}.{}", rpc.owner, rpc.method);
        let mut plain = routes::all().filter(|r| r.is_plain());
        let routed = plain.find(|r| r.rpcs == [(rpc.owner, rpc.method.as_str())]);
        let listed = UNROUTED.iter().find(|(name, _)| *name == call);
        let rpc = Rpc::new(rpc.service, &rpc.name, &rpc.takes);
        let access = match (routed, listed) {
            (Some(route), None) => route.access,
            (None, Some((_, access))) => *access,
            (None, None) if OF_SERVICES.contains(&call.as_str()) => {
                let refused = world.call(Role::Admin, &rpc, &json!({})).await;
                assert_eq!(refused, Some(NO_PERMISSION), "{call}");
                continue;
            }
            (None, None) => {
                let built = world.call(Role::Admin, &rpc, &json!({})).await;
                assert_eq!(built, None, "{call}: say in UNROUTED who may call it");
                continue;
            }
            (Some(_), Some(_)) => panic!("{call} has a route"),
        };
        for role in ROLES {
            let place = world.place(role, access, &call).await;
            let body = request(&call, &place);
            let Some(code) = world.call(role, &rpc, &body).await else {
                continue;
            };
            called += 1;
            wrong.extend(judge(&call, access, role, code));
        }
    }
    println!("{called} calls of RPCs");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(called > 800, "{called}");
}
