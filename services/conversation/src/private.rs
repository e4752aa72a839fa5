//! Burn-after-reading: a setting that two users share. Each has it in his own record, and both may switch it at once.
//!
//! A switch is a decision of one of them. It has a place among those of both: higher than all that the two records knew of when it was
//! made, and never that of another one. A record takes a decision only in place of a lower one, so whatever comes late, or twice, both end
//! with the highest.

use magpie_store::{
    Documents as _,
    documents::{Black, Conversation, User},
    key,
};
use magpie_types::{Code, Error, Result};

use crate::{
    records::{Identity, Records},
    settings::{Patch, set},
};

/// Whose decision about burn-after-reading a patch carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decision {
    /// The owner's, now: his peer's record has this value, of the decision at this place.
    Own { seen: bool, after: i64 },
    /// The peer's, at this place.
    Peer(i64),
}

/// The place of a decision of `owner` after all those up to `last`. Of two made at once, that of the greater id is the later one.
fn place_after(last: i64, owner: &str, peer: &str) -> i64 {
    (last / 2 + 1) * 2 + i64::from(owner > peer)
}

/// Whether the decision about burn-after-reading in this record is its owner's.
pub(crate) fn is_own_decision(record: &Conversation) -> bool {
    record.private_place % 2 == i64::from(record.owner_id > record.user_id)
}

impl Patch {
    /// Sets burn-after-reading, unless it is as wanted on both sides or a later decision stands; whether that changed the record.
    pub(crate) fn decide(&self, record: &mut Conversation) -> bool {
        let (Some(wanted), Some(decision)) = (self.is_private_chat, self.decision) else {
            return set(&mut record.is_private_chat, self.is_private_chat.as_ref());
        };
        let place = match decision {
            Decision::Own { seen, .. } if record.is_private_chat == wanted && seen == wanted => {
                return false;
            }
            Decision::Own { after, .. } => {
                let last = after.max(record.private_place);
                place_after(last, &record.owner_id, &record.user_id)
            }
            Decision::Peer(place) if place <= record.private_place => return false,
            Decision::Peer(place) => place,
        };
        record.is_private_chat = wanted;
        record.private_place = place;
        true
    }
}

impl Records {
    /// The patch with burn-after-reading in it as a decision that comes after all that the peer's record knows of.
    pub(crate) async fn decided(&self, about: &Identity, patch: &Patch) -> Result<Patch> {
        let mut patch = patch.clone();
        if patch.is_private_chat.is_some() {
            let key = key![about.peer.as_str(), about.conversation_id.as_str()];
            let peer: Option<Conversation> = self.deps.store.find(key).await?;
            patch.decision = Some(Decision::Own {
                seen: peer
                    .as_ref()
                    .is_some_and(|p| p.is_present() && p.is_private_chat),
                after: peer.map_or(0, |p| p.private_place),
            });
        }
        Ok(patch)
    }

    /// Burn-after-reading is set for both sides and told in the chat: only to who exists and has not blocked the one who sets it.
    pub(crate) async fn check_peer(&self, owner: &str, about: &Identity) -> Result<()> {
        let (store, peer) = (&self.deps.store, about.peer.as_str());
        if store.find::<User>(key![peer]).await?.is_none() {
            return Err(Error::not_found(format!("{peer} is not registered")));
        }
        let black = store.find::<Black>(key![peer, owner]).await?;
        if black.is_some_and(|black| black.is_present()) {
            return Err(Error::new(
                Code::BLOCKED_BY_PEER,
                "the other user has blocked this one",
            ));
        }
        Ok(())
    }

    /// Whether the owner's decision about burn-after-reading in this record still is the last one on both sides; whoever made a later
    /// one tells that.
    pub(crate) async fn stands(&self, record: &Conversation) -> Result<bool> {
        if !is_own_decision(record) {
            return Ok(false);
        }
        let sides = [&record.owner_id, &record.user_id];
        let keys = sides.map(|side| key![side.as_str(), record.conversation_id.as_str()]);
        let both: Vec<Option<Conversation>> = self.deps.store.find_many(keys.into()).await?;
        let mut places = both.iter().flatten().map(|side| side.private_place);
        Ok(places.all(|place| place == record.private_place))
    }
}
