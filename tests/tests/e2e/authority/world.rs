//! The people: one in each role, their tokens, and groups to call things in.

use magpie_api::routes::Access;
use magpie_tests::{Answer, Options, Rest, Server};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::rpc::Rpc;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Without a token.
    Nobody,
    /// A user who has nothing to do with it.
    Other,
    /// The user whom the request is about.
    Own,
    /// His friend.
    Friend,
    /// An ordinary member of the group.
    Member,
    /// One of its administrators.
    Manager,
    /// Its owner.
    Owner,
    /// The administrator of the application.
    Admin,
}

pub(super) const ROLES: [Role; 8] = [
    Role::Nobody,
    Role::Other,
    Role::Own,
    Role::Friend,
    Role::Member,
    Role::Manager,
    Role::Owner,
    Role::Admin,
];

/// Their users: alice is whom requests are about.
const USERS: [(&str, Role); 6] = [
    ("otto", Role::Other),
    ("alice", Role::Own),
    ("fred", Role::Friend),
    ("mia", Role::Member),
    ("max", Role::Manager),
    ("olga", Role::Owner),
];
/// Others who are needed: a member for kicks and mutes, and an applicant.
const EXTRAS: [&str; 2] = ["kit", "ann"];

/// The administrator whose tokens are asked for.
pub(super) const OTHER_ADMIN: &str = "secondAdmin";

/// Where a call happens.
pub(super) struct Place {
    /// A group whose owner is olga, whose administrator is max, whose members are mia and kit, and that ann wants to join.
    pub(super) group: String,
    /// For calls about tokens: one of alice that nothing else uses.
    pub(super) token: String,
    /// The number of a message from alice in her chat with fred.
    pub(super) seq: i64,
    /// The secret of the server.
    pub(super) secret: String,
    /// Unlike any other place's.
    pub(super) unique: String,
}

pub(super) struct World {
    server: Server,
    tokens: Vec<(Role, String)>,
    channel: Channel,
    admin: Rest,
    shared_group: String,
    seq: i64,
    places: std::sync::atomic::AtomicUsize,
}

impl World {
    pub(super) async fn start() -> Self {
        // Who asks for an administrator's token ends the earlier ones, after some minutes; ours is to last.
        let admins = format!("imAdmin,{OTHER_ADMIN}");
        let options = Options {
            env: vec![("MAGPIE_SHARED_ADMIN_USER_IDS".to_owned(), admins)],
            ..Options::default()
        };
        let server = Server::start_with(options).await;
        let server = server.expect("the server starts");
        let mut users: Vec<&str> = USERS.iter().map(|(user, _)| *user).collect();
        users.extend(EXTRAS);
        server.register(&users).await;
        let admin = server.admin().await;
        let text = json!({
            "sendID": "alice", "recvID": "fred", "senderPlatformID": 10, "sessionType": 1,
            "contentType": 101, "content": {"content": "hi"},
        });
        let friends = json!({"ownerUserID": "alice", "friendUserIDs": ["fred"]});
        admin.data("/friend/import_friend", &friends).await;
        let mut fred = server.connect("fred", 2).await;
        admin.data("/msg/send_msg", &text).await;
        let pushed = fred
            .push_where(|push| push.message.content_type == 101)
            .await;
        let seq = pushed.expect("the message of alice").message.seq;
        let mut tokens = vec![(Role::Admin, admin.token().expect("a token").to_owned())];
        for (user, role) in USERS {
            tokens.push((role, server.user_token(user, 5).await));
        }
        let endpoint = Channel::from_shared(server.grpc_url().to_owned()).expect("an address");
        let channel = endpoint.connect().await.expect("a connection");
        let mut world = Self {
            server,
            tokens,
            channel,
            admin,
            shared_group: String::new(),
            seq,
            places: Default::default(),
        };
        world.shared_group = world.group().await;
        world
    }

    /// A place for a call. Who may change a group gets one of his own.
    pub(super) async fn place(&self, role: Role, access: Access, call: &str) -> Place {
        let group = if changes_groups(call) && super::may(access, role) && role != Role::Nobody {
            self.group().await
        } else {
            self.shared_group.clone()
        };
        let n = self
            .places
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Place {
            group,
            token: match call.starts_with("auth.") {
                true => self.token("alice").await,
                false => String::new(),
            },
            seq: self.seq,
            secret: self.server.secret().to_owned(),
            unique: format!("x{n}"),
        }
    }

    async fn token(&self, user: &str) -> String {
        let wanted = json!({"userID": user, "platformID": 3});
        let token = self.admin.data("/auth/get_user_token", &wanted).await;
        token["token"].as_str().expect("a token").to_owned()
    }

    async fn group(&self) -> String {
        let made = json!({
            "ownerUserID": "olga", "adminUserIDs": ["max"], "memberUserIDs": ["mia", "kit"],
            "groupInfo": {"groupName": "g", "groupType": 2},
        });
        let made = self.admin.data("/group/create_group", &made).await;
        let group = made["groupInfo"]["groupID"]
            .as_str()
            .expect("an id")
            .to_owned();
        let wish = json!({"groupID": group, "inviterUserID": "ann", "joinSource": 3});
        self.admin.data("/group/join_group", &wish).await;
        group
    }

    /// REST in the name of a role.
    pub(super) fn rest(&self, role: Role) -> Caller {
        let token = self.tokens.iter().find(|(r, _)| *r == role);
        let anonymous = self.server.anonymous();
        Caller(match token {
            Some((_, token)) => anonymous.with_token(token),
            None => anonymous,
        })
    }

    /// The code that an RPC answers with; none if it is not built. A call without a token is answered like on REST.
    pub(super) async fn call(&self, role: Role, rpc: &Rpc, body: &Value) -> Option<i64> {
        let token = self.tokens.iter().find(|(r, _)| *r == role);
        let token = token.map(|(_, token)| token.as_str());
        let status = rpc.call(self.channel.clone(), token, body).await;
        match status.err() {
            None => Some(0),
            Some(status) if status.code() == tonic::Code::Unimplemented => None,
            Some(status) => Some(
                magpie_proto::status::from_status(status)
                    .code()
                    .number()
                    .into(),
            ),
        }
    }
}

/// Whether a call may leave a group other than it was.
fn changes_groups(call: &str) -> bool {
    let of_group = call.strip_prefix("group.");
    let of_group = of_group.or_else(|| call.strip_prefix("/group/"));
    of_group.is_some_and(|name| !name.contains("get_"))
}

/// A client of the REST API.
pub(super) struct Caller(Rest);

impl Caller {
    /// Calls a route; the answer to a webhook names the message by a key in the query.
    pub(super) async fn call(&self, path: &str, body: &Value) -> Answer {
        if path != "/msg/send_simple_msg" {
            return self.0.post(path, body).await;
        }
        use base64::Engine as _;
        let key = json!({"sendID": "fred", "recvID": "alice", "groupID": ""}).to_string();
        let key = base64::engine::general_purpose::STANDARD.encode(key);
        let key: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        self.0.post(&format!("{path}?key={key}"), body).await
    }
}
