//! All who take part in a run: pairs of users, groups of users, and a reader of each conversation.

use std::sync::Arc;
use std::time::Duration;

use magpie_tests::Rest;
use serde_json::json;

use crate::archive::Archive;
use crate::crowd::{Crowd, Guest, STAYING};
use crate::device::Device;
use crate::identity::{Chat, Identity, Seat, Stage};
use crate::world::{World, text};

/// Users of the groups, in turn.
const GROUP_SIZES: [usize; 3] = [8, 12, 20];
/// The share of each group in all messages.
const GROUP_SHARE: f64 = 0.05;
/// Platforms of a user's devices, and that of readers.
const PLATFORMS: [i32; 2] = [5, 2];
const READER: i32 = 4;

/// How many, and how many messages per second of all together.
pub(crate) struct Size {
    pub(crate) pairs: usize,
    pub(crate) groups: usize,
    pub(crate) rate: f64,
}

/// See the module.
pub(crate) struct Cast {
    /// Of pairs, four of each.
    pub(crate) paired: Vec<Arc<Device>>,
    pub(crate) crowds: Vec<Arc<Crowd>>,
    pub(crate) archive: Archive,
}

impl Cast {
    /// Registers everybody and makes the groups.
    pub(crate) async fn gather(
        world: &World,
        stage: &Arc<Stage>,
        size: &Size,
    ) -> anyhow::Result<Self> {
        let admin = world.admin().await?;
        let mut archive = Archive::default();
        let group_rate = size.rate * GROUP_SHARE;
        let paired_rate = size.rate - group_rate * size.groups as f64;
        let pause = Duration::from_secs_f64((size.pairs * 4) as f64 / paired_rate.max(1.0));
        let mut paired = Vec::new();
        for n in 0..size.pairs {
            let [ann, bob] = [format!("ann{n}"), format!("bob{n}")];
            register(&admin, &[ann.clone(), bob.clone()]).await;
            for (user, peer) in [(&ann, &bob), (&bob, &ann)] {
                let chat = Chat::Pair(peer.clone());
                let of_user = devices(&admin, user, &chat, stage, pause, true).await?;
                paired.extend(of_user.devices);
            }
            archive.add(identity(&admin, &ann, &Chat::Pair(bob), READER).await?);
        }
        let mut crowds = Vec::new();
        for (n, users) in (0..size.groups).zip(GROUP_SIZES.into_iter().cycle()) {
            let group = format!("group{n}");
            let names: Vec<String> = (0..users).map(|at| format!("g{n}u{at}")).collect();
            register(&admin, &names).await;
            let writers = users * PLATFORMS.len();
            let pause = Duration::from_secs_f64(writers as f64 / group_rate.max(0.1));
            let chat = Chat::Group(group.clone());
            let mut guests = Vec::new();
            for (at, name) in names.iter().enumerate() {
                let stays = at < STAYING;
                guests.push(devices(&admin, name, &chat, stage, pause, stays).await?);
            }
            if let Some(owner) = names.first() {
                archive.add(identity(&admin, owner, &chat, READER).await?);
            }
            crowds.push(Crowd::found(world, group, guests).await?);
        }
        Ok(Self {
            paired,
            crowds,
            archive,
        })
    }

    /// Devices of everybody.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Arc<Device>> {
        let guests = self.crowds.iter().flat_map(|crowd| &crowd.guests);
        self.paired.iter().chain(guests.flat_map(|g| &g.devices))
    }

    /// Those of whom each pair and each group has one.
    pub(crate) fn markers(&self) -> impl Iterator<Item = &Arc<Device>> {
        let owners = self.crowds.iter().flat_map(|crowd| crowd.guests.first());
        let owners = owners.flat_map(|guest| guest.devices.first());
        self.paired.iter().step_by(4).chain(owners)
    }
}

async fn register(admin: &Rest, names: &[String]) {
    let users = names
        .iter()
        .map(|id| json!({"userID": id, "nickname": id, "faceURL": ""}));
    let users: Vec<_> = users.collect();
    admin
        .data("/user/user_register", &json!({"users": users}))
        .await;
}

/// A user with his devices, each of which sends once in every `pause`.
async fn devices(
    admin: &Rest,
    user: &str,
    chat: &Chat,
    stage: &Arc<Stage>,
    pause: Duration,
    stays: bool,
) -> anyhow::Result<Guest> {
    let seat = Arc::new(Seat::taken(stays));
    let mut devices = Vec::new();
    let mut token = String::new();
    for platform in PLATFORMS {
        let identity = identity(admin, user, chat, platform).await?;
        token.clone_from(&identity.token);
        devices.push(Arc::new(Device::new(identity, &seat, stage, pause)));
    }
    Ok(Guest {
        user: user.to_owned(),
        token,
        seat,
        devices,
    })
}

async fn identity(
    admin: &Rest,
    user: &str,
    chat: &Chat,
    platform: i32,
) -> anyhow::Result<Identity> {
    let body = json!({"userID": user, "platformID": platform});
    let data = admin.data("/auth/get_user_token", &body).await;
    Ok(Identity {
        user: user.to_owned(),
        chat: chat.clone(),
        platform,
        token: text(&data["token"])?.to_owned(),
    })
}
