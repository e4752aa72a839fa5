//! The same calls in a small and in a very large group of users who are not connected, but for their owner.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use magpie_envelope::reqs;
use magpie_proto::openim::sdkws::MsgData;
use prost::Message as _;
use serde_json::{Value, json};

use super::{
    client::{self, Socket},
    rest::Rest,
    server::Server,
    suite::BYTES,
};
use crate::{admin::Api, output::say};

/// Users of one call of the administrator.
const CHUNK: usize = 500;
/// Times that each call is made; the median counts.
const ROUNDS: usize = 15;
/// Before each of them, so that it does not wait for what the one before has started.
const PAUSE: Duration = Duration::from_millis(500);
/// Members of a page.
const PAGE: usize = 100;
/// Who is muted, and the newest member whose row is read.
const SOMEBODY: &str = "crowd7";

/// A group, its owner's connections, and who else could come in.
pub(super) struct Group {
    id: String,
    owner: String,
    rest: Rest,
    socket: Socket,
    sent: usize,
}

impl Group {
    /// Registers so many users, makes a group of the first, and lets the administrator invite the rest.
    pub(super) async fn fill(api: &Api, server: &Server, members: usize) -> anyhow::Result<Self> {
        let users: Vec<String> = (0..members - 1).map(|i| format!("crowd{i}")).collect();
        let (id, owner) = (format!("crowd-of-{members}"), format!("chief{members}"));
        let chief = std::slice::from_ref(&owner);
        client::register(api, &users).await?;
        let tokens = client::tokens(api, chief).await?;
        let token = tokens.first().context("a token each")?;
        let started = Instant::now();
        let cpu = server.cpu_ms()?;
        let mut chunks = users.chunks(CHUNK);
        let wish = json!({
            "ownerUserID": owner, "memberUserIDs": chunks.next(),
            "groupInfo": { "groupID": id, "groupName": id, "groupType": 2 },
        });
        api.post("/group/create_group", wish).await?;
        for (i, chunk) in chunks.enumerate() {
            let wish = json!({ "groupID": id, "reason": "", "invitedUserIDs": chunk });
            api.post("/group/invite_user_to_group", wish).await?;
            if i % 20 == 19 {
                say(&format!("  {} members", (i + 2) * CHUNK));
            }
        }
        say(&format!(
            "  {members} members after {:.1} s, {:.3} ms of CPU each",
            started.elapsed().as_secs_f64(),
            (server.cpu_ms()? - cpu) / members as f64
        ));
        server.settled().await?;
        Ok(Self {
            rest: Rest::connect(server.api(), token).await?,
            socket: client::connect(&server.ws, &owner, token).await?,
            id,
            owner,
            sent: 0,
        })
    }

    /// Median time of each call in milliseconds, by name.
    pub(super) async fn calls(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let page =
            json!({ "groupID": self.id, "pagination": { "pageNumber": 2, "showNumber": PAGE } });
        let one = json!({ "groupID": self.id, "userIDs": [SOMEBODY] });
        let mute = json!({ "groupID": self.id, "userID": SOMEBODY, "mutedSeconds": 60 });
        let of_one = json!({ "groupID": self.id, "userID": SOMEBODY });
        let group = json!({ "groupID": self.id });
        let groups = json!({ "groupIDs": [self.id] });
        let unknown = json!({ "groupID": self.id, "version": 0, "versionID": "" });
        let calls = [
            ("page of members", "/group/get_group_member_list", page),
            ("one member", "/group/get_group_members_info", one),
            ("group", "/group/get_groups_info", groups),
            ("versions", "/group/get_incremental_group_members", unknown),
            ("mute of a member", "/group/mute_group_member", mute),
            ("end of that", "/group/cancel_mute_group_member", of_one),
            ("mute of the group", "/group/mute_group", group.clone()),
            ("end of it", "/group/cancel_mute_group", group),
        ];
        let mut found = Vec::new();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            tokio::time::sleep(PAUSE).await;
            let started = Instant::now();
            self.send().await?;
            times.push(started.elapsed());
        }
        found.push(("message", median(times)));
        let mut times = vec![Vec::new(); calls.len()];
        for _ in 0..ROUNDS {
            for ((_, route, body), times) in calls.iter().zip(&mut times) {
                tokio::time::sleep(PAUSE).await;
                let started = Instant::now();
                self.call(route, body).await?;
                times.push(started.elapsed());
            }
        }
        found.extend(
            calls
                .iter()
                .zip(times)
                .map(|((name, ..), t)| (*name, median(t))),
        );
        Ok(found)
    }

    async fn call(&mut self, route: &str, body: &Value) -> anyhow::Result<()> {
        let body: Bytes = body.to_string().into();
        self.rest.raw(route, body).await.map(drop)
    }

    /// Milliseconds of server CPU per message, everything that follows from it included.
    pub(super) async fn cpu_per_message(
        &mut self,
        server: &Server,
        rate: u32,
        seconds: u32,
    ) -> anyhow::Result<f64> {
        self.send().await?;
        server.settled().await?;
        let cpu = server.cpu_ms()?;
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
        for _ in 0..rate * seconds {
            tick.tick().await;
            self.send().await?;
        }
        server.settled().await?;
        Ok((server.cpu_ms()? - cpu) / f64::from(rate * seconds))
    }

    /// Sends a message and waits for its acknowledgement.
    async fn send(&mut self) -> anyhow::Result<()> {
        self.sent += 1;
        let incr = self.sent.to_string();
        let msg = MsgData {
            send_id: self.owner.clone(),
            group_id: self.id.clone(),
            client_msg_id: format!("{}-{incr}", self.id),
            sender_platform_id: client::PLATFORM,
            session_type: 3,
            msg_from: 100,
            content_type: 101,
            content: Bytes::from(json!({ "content": "x".repeat(BYTES) }).to_string()),
            status: 1,
            create_time: magpie_types::time::now_ms(),
            ..MsgData::default()
        };
        let sends = (reqs::SEND_MSG, incr);
        client::ask(&mut self.socket, &self.owner, sends, msg.encode_to_vec()).await?;
        Ok(())
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied();
    middle.unwrap_or_default().as_secs_f64() * 1000.0
}
