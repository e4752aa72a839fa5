//! Every kind of change of users, friends, groups and conversations, prepared so that each can be made.

use std::collections::BTreeMap;

use magpie_tests::{Cluster, Rest};
use serde_json::{Value, json};

use super::changes::{Change, Ears};

/// Changes of every kind, each of which can be made now.
pub(super) struct Wave {
    pub(super) changes: Vec<Change>,
}

/// A wave while it is prepared.
struct Stage<'a> {
    admin: &'a Rest,
    name: &'a str,
    /// Of those who ask for changes, by number.
    callers: BTreeMap<usize, Rest>,
}

const JOINED: &str = "/group/get_incremental_join_groups";
const MEMBERS: &str = "/group/get_incremental_group_members";
const RECORDS: &str = "/conversation/get_incremental_conversations";
const FRIENDS: &str = "/friend/get_incremental_friends";
const BLACKS: &str = "/friend/get_incremental_blacks";

impl Stage<'_> {
    fn user(&self, n: usize) -> String {
        format!("{}u{n}", self.name)
    }

    fn group(&self, n: usize) -> String {
        format!("{}g{n}", self.name)
    }

    fn change(&self, what: &str, caller: usize, path: &'static str, body: Value) -> Change {
        let name = format!("{what} of {}", self.name);
        let caller = self.callers[&caller].clone();
        Change::new(name, caller, path, body)
    }

    fn creation(&self, id: &str, owner: usize, members: &[usize]) -> Value {
        let members: Vec<String> = members.iter().map(|n| self.user(*n)).collect();
        json!({
            "ownerUserID": self.user(owner), "memberUserIDs": members,
            "groupInfo": {"groupID": id, "groupName": id, "groupType": 2},
        })
    }

    /// A group of 8 with 9.
    async fn made(&self, n: usize) -> String {
        let id = self.group(n);
        let creation = self.creation(&id, 8, &[9]);
        self.admin.data("/group/create_group", &creation).await;
        id
    }

    /// Somebody comes into a group, or goes: seen from both sides.
    async fn moves(&self, change: Change, group: &str, user: &str, comes: bool) -> Change {
        let (id, name) = (format!("\"{user}\""), format!("\"{group}\""));
        let joined =
            json!({"fromUserID": user, "pagination": {"pageNumber": 1, "showNumber": 100}});
        let change = change
            .fact(
                "members",
                "/group/get_group_member_user_id",
                json!({"groupID": group}),
                move |data| data.to_string().contains(&id) == comes,
            )
            .fact(
                "groups",
                "/group/get_joined_group_list",
                joined,
                move |data| data["groups"].to_string().contains(&name) == comes,
            );
        let change = change
            .listed(self.admin, JOINED, ("userID", user), group)
            .await;
        let change = change
            .listed(self.admin, MEMBERS, ("groupID", group), user)
            .await;
        let record = format!("sg_{group}");
        if comes {
            let of_user = ("userID", user);
            return change.listed(self.admin, RECORDS, of_user, &record).await;
        }
        change
    }

    async fn friends(&self) -> Vec<Change> {
        let page = json!({"pageNumber": 1, "showNumber": 100});
        let u = |n| self.user(n);
        let (two, three) = (u(2), u(3));
        let apply =
            |from: &str, to: &str| json!({"fromUserID": from, "toUserID": to, "reqMsg": "hi"});
        let names = |name: &str| {
            let name = format!("\"{name}\"");
            move |data: &Value| data.to_string().contains(&name)
        };
        let application = self
            .change("application", 0, "/friend/add_friend", apply(&u(0), &u(1)))
            .fact(
                "of the applicant",
                "/friend/get_self_friend_apply_list",
                json!({"userID": u(0), "pagination": page}),
                names(&u(1)),
            )
            .fact(
                "of the other",
                "/friend/get_friend_apply_list",
                json!({"userID": u(1), "pagination": page}),
                names(&u(0)),
            )
            .told(&u(1), 1203);
        self.admin
            .data("/friend/add_friend", &apply(&two, &three))
            .await;
        let answer =
            json!({"fromUserID": two, "toUserID": three, "handleResult": 1, "handleMsg": ""});
        let both = json!({"userID1": two, "userID2": three});
        let acceptance = self
            .change("acceptance", 3, "/friend/add_friend_response", answer)
            .fact("one", "/friend/is_friend", both.clone(), |d| {
                d["inUser1Friends"] == true
            })
            .fact("other", "/friend/is_friend", both, |d| {
                d["inUser2Friends"] == true
            })
            .fact(
                "application",
                "/friend/get_self_friend_apply_list",
                json!({"userID": two, "pagination": page}),
                |data| data["friendRequests"][0]["handleResult"] == 1,
            )
            .listed(self.admin, FRIENDS, ("userID", &two), &three)
            .await
            .listed(self.admin, FRIENDS, ("userID", &three), &two)
            .await
            .line(&format!("si_{two}_{three}"), &two, 1201);
        let befriended = json!({"ownerUserID": u(4), "friendUserIDs": [u(5)]});
        self.admin.data("/friend/import_friend", &befriended).await;
        let pair = json!({"ownerUserID": u(4), "friendUserID": u(5)});
        let both = json!({"userID1": u(4), "userID2": u(5)});
        let deletion = self
            .change("deletion", 4, "/friend/delete_friend", pair)
            .fact("friend", "/friend/is_friend", both, |d| {
                d["inUser1Friends"] == false
            })
            .listed(self.admin, FRIENDS, ("userID", &u(4)), &u(5))
            .await
            .told(&u(4), 1205);
        let black = |owner: &str| json!({"ownerUserID": owner, "blackUserID": u(6)});
        let blacks = |owner: &str| json!({"userID": owner, "pagination": page});
        for (owner, other) in [(u(4), u(0)), (u(7), u(6))] {
            let first = json!({"ownerUserID": owner, "blackUserID": other});
            self.admin.data("/friend/add_black", &first).await;
        }
        let blocking = self
            .change("blocking", 4, "/friend/add_black", black(&u(4)))
            .fact(
                "black list",
                "/friend/get_black_list",
                blacks(&u(4)),
                names(&u(6)),
            )
            .listed(self.admin, BLACKS, ("userID", &u(4)), &u(6))
            .await
            .told(&u(4), 1207);
        let gone = names(&u(6));
        let unblocking = self
            .change("unblocking", 7, "/friend/remove_black", black(&u(7)))
            .fact(
                "black list",
                "/friend/get_black_list",
                blacks(&u(7)),
                move |d| !gone(d),
            )
            .listed(self.admin, BLACKS, ("userID", &u(7)), &u(6))
            .await
            .told(&u(7), 1208);
        vec![application, acceptance, deletion, blocking, unblocking]
    }

    async fn groups(&self) -> Vec<Change> {
        let (owner, member, newcomer) = (self.user(8), self.user(9), self.user(10));
        let chat = |id: &str| format!("sg_{id}");
        let new = self.group(0);
        let creation = self.creation(&new, 8, &[9]);
        let mut creation = self
            .change("founding", 8, "/group/create_group", creation)
            .line(&chat(&new), &owner, 1501);
        for user in [&owner, &member] {
            creation = creation
                .listed(self.admin, JOINED, ("userID", user), &new)
                .await
                .listed(self.admin, RECORDS, ("userID", user), &chat(&new))
                .await;
        }
        let id = self.made(1).await;
        let body = json!({"groupID": id, "invitedUserIDs": [newcomer]});
        let change = self.change("invitation", 8, "/group/invite_user_to_group", body);
        let invitation = self
            .moves(change.line(&chat(&id), &owner, 1509), &id, &newcomer, true)
            .await;
        let id = self.made(2).await;
        let join =
            json!({"groupID": id, "inviterUserID": newcomer, "joinSource": 3, "reqMessage": "hi"});
        self.admin.data("/group/join_group", &join).await;
        let body =
            json!({"groupID": id, "fromUserID": newcomer, "handleResult": 1, "handledMsg": ""});
        let change = self.change("admission", 8, "/group/group_application_response", body);
        let admission = self
            .moves(change.line(&chat(&id), &owner, 1510), &id, &newcomer, true)
            .await;
        let id = self.made(3).await;
        let body = json!({"groupID": id, "kickedUserIDs": [member]});
        let change = self.change("removal", 8, "/group/kick_group", body);
        let removal = self
            .moves(change.line(&chat(&id), &owner, 1508), &id, &member, false)
            .await;
        let id = self.made(4).await;
        let body = json!({"groupID": id, "userID": member});
        let change = self.change("leaving", 9, "/group/quit_group", body);
        let leaving = self
            .moves(change.line(&chat(&id), &owner, 1504), &id, &member, false)
            .await;
        let mut all = vec![creation, invitation, admission, removal, leaving];
        all.extend(self.roles(&owner, &member).await);
        all
    }

    async fn roles(&self, owner: &str, member: &str) -> Vec<Change> {
        let chat = |id: &str| format!("sg_{id}");
        let of = |id: &str, user: &str| json!({"groupID": id, "userIDs": [user]});
        let infos = "/group/get_group_members_info";
        let id = self.made(5).await;
        let heir = member.to_owned();
        let body = json!({"groupID": id, "oldOwnerUserID": owner, "newOwnerUserID": member});
        let transfer = self
            .change("transfer", 8, "/group/transfer_group", body)
            .fact(
                "owner",
                "/group/get_groups_info",
                json!({"groupIDs": [id]}),
                move |d| d["groupInfos"][0]["ownerUserID"] == *heir,
            )
            .fact("new role", infos, of(&id, member), |d| {
                d["members"][0]["roleLevel"] == 100
            })
            .fact("old role", infos, of(&id, owner), |d| {
                d["members"][0]["roleLevel"] == 20
            })
            .listed(self.admin, MEMBERS, ("groupID", &id), member)
            .await
            .line(&chat(&id), owner, 1507);
        let id = self.made(6).await;
        let body = json!({"groupID": id, "userID": member, "mutedSeconds": 600});
        let mute = self
            .change("mute", 8, "/group/mute_group_member", body)
            .fact("muted", infos, of(&id, member), |d| {
                d["members"][0]["muteEndTime"].as_i64() > Some(0)
            })
            .listed(self.admin, MEMBERS, ("groupID", &id), member)
            .await
            .line(&chat(&id), owner, 1512);
        let id = self.made(7).await;
        let body = json!({"groupID": id, "groupName": "renamed"});
        let naming = self
            .change("naming", 8, "/group/set_group_info_ex", body)
            .fact(
                "name",
                "/group/get_groups_info",
                json!({"groupIDs": [id]}),
                |d| d["groupInfos"][0]["groupName"] == "renamed",
            )
            .line(&chat(&id), owner, 1520);
        let id = self.made(8).await;
        let change = self
            .change(
                "dismissal",
                8,
                "/group/dismiss_group",
                json!({"groupID": id}),
            )
            .fact(
                "status",
                "/group/get_groups_info",
                json!({"groupIDs": [id]}),
                |d| d["groupInfos"][0]["status"] == 2,
            )
            .line(&chat(&id), owner, 1511);
        let dismissal = change
            .listed(self.admin, JOINED, ("userID", owner), &id)
            .await
            .listed(self.admin, JOINED, ("userID", member), &id)
            .await;
        vec![transfer, mute, naming, dismissal]
    }

    async fn settings(&self, common: &str) -> Vec<Change> {
        let (user, friend) = (self.user(11), self.user(12));
        let body = json!({"userInfo": {"userID": user, "nickname": "renamed"}});
        let profile = self
            .change("profile", 11, "/user/update_user_info_ex", body)
            .fact(
                "profile",
                "/user/get_users_info",
                json!({"userIDs": [user]}),
                |d| d["usersInfo"][0]["nickname"] == "renamed",
            )
            .listed(self.admin, FRIENDS, ("userID", &friend), &user)
            .await
            .listed(self.admin, MEMBERS, ("groupID", common), &user)
            .await
            .told(&friend, 1209);
        let chat = format!("sg_{common}");
        let owner = self.user(13);
        let body = json!({"userIDs": [owner], "conversation": {
            "conversationID": chat, "conversationType": 3, "groupID": common, "recvMsgOpt": 2,
        }});
        let asked = json!({"ownerUserID": owner, "conversationID": chat});
        let setting = self
            .change("setting", 13, "/conversation/set_conversations", body)
            .fact("record", "/conversation/get_conversation", asked, |d| {
                d["conversation"]["recvMsgOpt"] == 2
            })
            .listed(self.admin, RECORDS, ("userID", &owner), &chat)
            .await
            .told(&owner, 1300);
        vec![profile, setting]
    }
}

impl Wave {
    /// Registers fourteen users, who are friends of one of them and together in a group, so that all lists of theirs exist.
    pub(super) async fn prepare(cluster: &Cluster, admin: &Rest, name: &str, ears: &Ears) -> Self {
        let mut stage = Stage {
            admin,
            name,
            callers: BTreeMap::new(),
        };
        let users: Vec<String> = (0..14).map(|n| stage.user(n)).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        cluster.register(&names).await;
        for n in [0, 3, 4, 7, 8, 9, 11, 13] {
            let caller = cluster.user(&stage.user(n), 5).await;
            stage.callers.insert(n, caller);
        }
        let others: Vec<&str> = names
            .iter()
            .copied()
            .filter(|n| *n != stage.user(12))
            .collect();
        let all = json!({"ownerUserID": stage.user(12), "friendUserIDs": others});
        admin.data("/friend/import_friend", &all).await;
        let common = stage.group(9);
        let everybody: Vec<usize> = (0..14).filter(|n| *n != 12).collect();
        let creation = stage.creation(&common, 12, &everybody);
        admin.data("/group/create_group", &creation).await;
        let mut changes = stage.friends().await;
        changes.extend(stage.groups().await);
        changes.extend(stage.settings(&common).await);
        for n in [1, 4, 7, 12, 13] {
            ears.listen(cluster.connect(&stage.user(n), 2).await);
        }
        Self { changes }
    }
}
