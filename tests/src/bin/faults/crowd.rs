//! A group: its users with their devices, and who has them come and go while everything else happens.
//!
//! The first two users stay; the others quit, are kicked and are invited again, one at a time, as a back end would do it: what is not
//! answered with success is asked for again until the list of members shows it. Who left is invited again only when all his devices have
//! got what was his: what is before the place where he comes back is closed to him for ever, as history is off for new members.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use magpie_tests::evidence::{Holder, Move};
use magpie_types::ConversationId;
use rand::seq::IndexedRandom as _;
use serde_json::json;
use tokio::time::sleep;

use crate::device::Device;
use crate::identity::{Seat, Stage};
use crate::world::World;

/// Pause between two changes, milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 200..900;
/// Pause before something is asked for again.
const AGAIN: Duration = Duration::from_millis(300);
/// Users who never leave: the owner and one more.
pub(crate) const STAYING: usize = 2;

/// A user of a group.
pub(crate) struct Guest {
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) seat: Arc<Seat>,
    pub(crate) devices: Vec<Arc<Device>>,
}

impl Guest {
    /// Whether all his devices know that he is a member, or that he has left, and have all that is his.
    fn knows(&self, is_member: bool) -> bool {
        self.devices.iter().all(|device| {
            let log = device.log();
            if is_member { log.is_in() } else { log.is_out() }
        })
    }
}

/// See the module.
pub(crate) struct Crowd {
    pub(crate) group: String,
    pub(crate) guests: Vec<Guest>,
    moves: Mutex<Vec<Move>>,
    busy: AtomicBool,
}

impl Crowd {
    /// Has the first user make the group with all the others.
    pub(crate) async fn found(
        world: &World,
        group: String,
        guests: Vec<Guest>,
    ) -> anyhow::Result<Arc<Self>> {
        let owner = guests.first().context("a group has an owner")?;
        let others: Vec<&str> = guests.iter().skip(1).map(|g| g.user.as_str()).collect();
        let request = json!({
            "ownerUserID": owner.user, "memberUserIDs": others,
            "groupInfo": {"groupID": group, "groupName": group, "groupType": 2},
        });
        world
            .post(&owner.token, "/group/create_group", &request)
            .await?;
        let moves = guests.iter().map(|guest| Move {
            user: guest.user.clone(),
            joins: true,
            asked: 1,
            sure: true,
            after: Vec::new(),
        });
        Ok(Arc::new(Self {
            moves: Mutex::new(moves.collect()),
            group,
            guests,
            busy: AtomicBool::default(),
        }))
    }

    /// Its conversation.
    pub(crate) fn conversation(&self) -> String {
        ConversationId::group(&self.group).into()
    }

    /// Everybody's name.
    pub(crate) fn users(&self) -> Vec<String> {
        self.guests.iter().map(|g| g.user.clone()).collect()
    }

    /// What was asked for.
    pub(crate) fn moves(&self) -> Vec<Move> {
        self.ledger().clone()
    }

    /// Changes that certainly happened, the founding not counted.
    pub(crate) fn moved(&self) -> usize {
        let sure = self.ledger().iter().filter(|m| m.sure).count();
        sure - self.guests.len()
    }

    /// What each device has.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let devices = self.guests.iter().flat_map(|guest| &guest.devices);
        let holder = |device: &Arc<Device>| Holder {
            who: device.identity.who(),
            user: device.identity.user.clone(),
            held: device.log().held.clone(),
        };
        devices.map(holder).collect()
    }

    /// Whether somebody is being let in or out.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Has users come and go until it is aborted, but for pauses.
    pub(crate) async fn churn(self: Arc<Self>, world: Arc<World>, stage: Arc<Stage>) {
        loop {
            sleep(Duration::from_millis(rand::random_range(PAUSE_MS))).await;
            // In this order: whoever pauses waits until nobody is busy.
            self.busy.store(true, Ordering::SeqCst);
            if !stage.paused.load(Ordering::SeqCst) {
                self.step(&world).await;
            }
            self.busy.store(false, Ordering::SeqCst);
        }
    }

    async fn step(&self, world: &World) {
        // A request that was given up may have been carried out later.
        if let Ok(members) = self.members(world).await {
            for guest in &self.guests {
                guest.seat.set(members.contains(&guest.user));
            }
        }
        let mobile = self.guests.get(STAYING..).unwrap_or_default();
        let there = self.guests.iter().filter(|g| g.seat.is_taken()).count();
        let Some(guest) = mobile.choose(&mut rand::rng()) else {
            return;
        };
        match guest.seat.is_taken() {
            true if there > self.guests.len() / 2 && guest.knows(true) => {
                self.pursue(world, guest, false).await;
            }
            false if guest.knows(false) => self.pursue(world, guest, true).await,
            _ => {}
        }
    }

    /// Asks for it until it is so.
    async fn pursue(&self, world: &World, guest: &Guest, joins: bool) {
        let after = self.guests.iter().flat_map(|g| &g.devices);
        let after = after.filter_map(|d| d.log().last_acknowledged.clone());
        let wanted = Move {
            user: guest.user.clone(),
            joins,
            asked: 0,
            sure: false,
            after: after.collect(),
        };
        self.ledger().push(wanted);
        let by_himself: bool = rand::random();
        loop {
            let asked = self.noted(|wanted| {
                wanted.asked += 1;
                wanted.asked
            });
            match self.ask(world, guest, joins, by_himself).await {
                // Who is a member already is invited with success, and who is none is not removed.
                Ok(()) => {
                    self.noted(|wanted| wanted.sure = !joins || asked == Some(1));
                    break;
                }
                Err(_) => match self.members(world).await {
                    Ok(members) if members.contains(&guest.user) == joins => break,
                    _ => sleep(AGAIN).await,
                },
            }
        }
        guest.seat.set(joins);
    }

    async fn ask(
        &self,
        world: &World,
        guest: &Guest,
        joins: bool,
        by_himself: bool,
    ) -> anyhow::Result<()> {
        let (group, user) = (&self.group, &guest.user);
        let (path, body) = if joins {
            let body = json!({"groupID": group, "invitedUserIDs": [user]});
            ("/group/invite_user_to_group", body)
        } else if by_himself {
            let body = json!({"groupID": group, "userID": user});
            ("/group/quit_group", body)
        } else {
            let body = json!({"groupID": group, "kickedUserIDs": [user]});
            ("/group/kick_group", body)
        };
        let owner = self.guests.first().context("a group has an owner")?;
        let token = if joins || !by_himself {
            &owner.token
        } else {
            &guest.token
        };
        world.post(token, path, &body).await.map(drop)
    }

    async fn members(&self, world: &World) -> anyhow::Result<Vec<String>> {
        let owner = self.guests.first().context("a group has an owner")?;
        let path = "/group/get_group_member_user_id";
        let request = json!({"groupID": self.group});
        let mut data = world.post(&owner.token, path, &request).await?;
        Ok(serde_json::from_value(data["userIDs"].take())?)
    }

    /// Changes the newest entry of the ledger.
    fn noted<T>(&self, change: impl FnOnce(&mut Move) -> T) -> Option<T> {
        self.ledger().last_mut().map(change)
    }

    fn ledger(&self) -> MutexGuard<'_, Vec<Move>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
