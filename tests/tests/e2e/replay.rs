//! Plays every recorded case against a fresh server, one test per case.

use std::collections::BTreeSet;

use magpie_tests::golden::{Case, LiveTarget, Override, Overrides, case_names, folder, play};
use magpie_tests::{Options, Server, env};
use tokio::sync::Semaphore;

/// How many servers run at a time.
static SERVERS: Semaphore = Semaphore::const_new(4);

/// Recordings whose names begin with `variant` are of a server with another setting.
fn options(case: &str) -> Options {
    let set = match case {
        "variant-friendVerify-true" => Some((env::FRIEND_VERIFY, "true")),
        "variant-history-for-new-members-false" => Some((env::HISTORY_FOR_NEW_MEMBERS, "false")),
        "variant-policy0" => Some((env::MULTI_LOGIN_POLICY, "0")),
        "variant-policy4" => Some((env::MULTI_LOGIN_POLICY, "4")),
        _ => None,
    };
    Options {
        env: set
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        ..Options::default()
    }
}

async fn replay(name: &str) {
    let _permit = SERVERS.acquire().await.unwrap();
    let case = Case::read(&folder(), name).unwrap();
    let overrides = Overrides::of_case(&Override::read_all(&folder()).unwrap(), name);
    let mut target = LiveTarget::new(Server::start_with(options(name)).await.unwrap());
    let report = play(&case, overrides, &mut target).await.unwrap();
    let (slowest, took) = report.slowest;
    println!(
        "{name}: {} lines, {} overrides, slowest step {slowest} took {took:?}",
        report.lines, report.overrides
    );
    assert!(
        report.differences.is_empty(),
        "{} differences\n{}",
        report.differences.len(),
        report.differences.join("\n")
    );
}

macro_rules! cases {
    ($($test:ident = $name:literal),* $(,)?) => {
        const CASES: &[&str] = &[$($name),*];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                replay($name).await;
            }
        )*
    };
}

cases! {
    conversation_all = "conversation-all",
    group_create = "group-create",
    group_join_and_apply = "group-join-and-apply",
    group_kick_quit_transfer_dismiss = "group-kick-quit-transfer-dismiss",
    group_lists_and_versions = "group-lists-and-versions",
    jssdk_conversations = "jssdk-conversations",
    msg_admin_send = "msg-admin-send",
    msg_bad_args = "msg-bad-args",
    msg_delete_clear = "msg-delete-clear",
    msg_fresh_connection_2 = "msg-fresh-connection-2",
    msg_fresh_connection = "msg-fresh-connection",
    msg_group = "msg-group",
    msg_read = "msg-read",
    msg_revoke = "msg-revoke",
    msg_search_pull_rest = "msg-search-pull-rest",
    sync_first_login_go_core = "sync-first-login-go-core",
    variant_friend_verify = "variant-friendVerify-true",
    variant_history_for_new_members = "variant-history-for-new-members-false",
    variant_policy0 = "variant-policy0",
    variant_policy4 = "variant-policy4",
    user_profile = "user-profile",
    group_info_and_announcement = "group-info-and-announcement",
    notify_group_history_for_joiners = "notify-group-history-for-joiners",
    friend_apply = "friend-apply",
    friend_list_update_delete = "friend-list-update-delete",
    msg_black_and_recvopt = "msg-black-and-recvopt",
    user_notification_accounts_and_config = "user-notification-accounts-and-config",
    auth_admin_token = "auth-admin-token",
    auth_parse_token = "auth-parse-token",
    msg_content_types = "msg-content-types",
    msg_resend_and_self = "msg-resend-and-self",
    msg_forced_options = "msg-forced-options",
    msg_text_1to1 = "msg-text-1to1",
    ws_background_and_logout = "ws-background-and-logout",
    ws_online_status = "ws-online-status",
    auth_force_logout = "auth-force-logout",
    auth_multi_login = "auth-multi-login",
    auth_multi_login_tokens = "auth-multi-login-tokens",
    auth_odd_platforms = "auth-odd-platforms",
    auth_user_token = "auth-user-token",
    ws_admin_connection = "ws-admin-connection",
    ws_envelope = "ws-envelope",
    ws_gob = "ws-gob",
    ws_gzip_js = "ws-gzip-js",
    ws_handshake_variants = "ws-handshake-variants",
    ws_heartbeat = "ws-heartbeat",
    ws_idle_30s = "ws-idle-30s",
}

#[test]
fn every_recorded_case_has_its_test() {
    let mut known: Vec<_> = CASES.to_vec();
    known.sort_unstable();
    assert_eq!(case_names().unwrap(), known);
}

#[test]
fn overrides_are_listed_with_reasons_and_belong_to_a_case() {
    let all = Override::read_all(&folder()).unwrap();
    let unknown: Vec<_> = all
        .iter()
        .filter(|entry| !CASES.iter().any(|case| *case == entry.case))
        .map(Override::place)
        .collect();
    assert_eq!(unknown, [""; 0]);
    let items: BTreeSet<_> = all.iter().map(|entry| entry.reason.as_str()).collect();
    println!(
        "{} overrides in {} cases for {items:?}",
        all.len(),
        CASES.len()
    );
}

/// Reasons are items of docs/compatibility.md, and every item there is the reason of an override.
#[test]
fn the_compatibility_page_lists_the_reasons_of_all_overrides() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
    let page = std::fs::read_to_string(page).unwrap();
    let listed: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .filter(|item| *item != "item")
        .map(str::to_owned)
        .collect();
    let all = Override::read_all(&folder()).unwrap();
    let used: BTreeSet<_> = all
        .iter()
        .flat_map(|entry| entry.reason.split([',', ';']))
        .map(|item| item.trim().to_owned())
        .collect();
    assert_eq!(used, listed);
}
