//! A user who reads everything, now and then, over REST. Read positions must never go back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::device::Device;
use crate::world::World;

/// Reads as the user of this device until it is aborted; what does not work now is tried again later.
pub(crate) async fn read(world: Arc<World>, device: Arc<Device>) {
    let who = format!("{} by REST", device.identity.user);
    let (user, conversation) = (&device.identity.user, device.identity.conversation());
    let token = &device.identity.token;
    loop {
        sleep(Duration::from_millis(rand::random_range(500..1500))).await;
        let asked = json!({"userID": user, "conversationIDs": [conversation]});
        let path = "/msg/get_conversations_has_read_and_max_seq";
        let Ok(data) = world.post(token, path, &asked).await else {
            continue;
        };
        let seqs = &data["seqs"][&conversation];
        let number = |name: &str| seqs[name].as_i64().unwrap_or(0);
        let (read, newest) = (number("hasReadSeq"), number("maxSeq"));
        device.log().read(&who, &conversation, read, newest);
        let marked = json!({"userID": user, "conversationID": conversation, "hasReadSeq": newest, "seqs": []});
        let path = "/msg/mark_conversation_as_read";
        if newest > 0 && world.post(token, path, &marked).await.is_ok() {
            device.log().read(&who, &conversation, newest, newest);
        }
    }
}
