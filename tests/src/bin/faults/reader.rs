//! A user who reads everything, now and then, over REST. Read positions must never go back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use magpie_tests::Rest;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::device::Device;
use crate::world::World;

/// Reads as the user of this device until it is aborted; what does not work now is tried again later.
pub(crate) async fn read(world: Arc<World>, device: Arc<Device>) {
    let who = format!("{} by REST", device.identity.user);
    let (user, conversation) = (&device.identity.user, device.identity.conversation());
    loop {
        sleep(Duration::from_millis(rand::random_range(500..1500))).await;
        let apis = world.apis();
        let at = rand::random_range(0..apis.len().max(1));
        let Some(api) = apis.get(at) else { continue };
        let post = async |path: &str, body: Value| -> anyhow::Result<Value> {
            let operation_id = format!("faults-{:016x}", rand::random::<u64>());
            let headers = [
                ("operationID", operation_id.as_str()),
                ("Content-Type", "application/json"),
                ("token", &device.identity.token),
            ];
            let body = Bytes::from(body.to_string());
            let answer = Rest::new(&[api]).call("POST", path, &headers, body).await?;
            anyhow::ensure!(answer.code() == 0, "refused");
            Ok(answer.json()["data"].take())
        };
        let asked = json!({"userID": user, "conversationIDs": [conversation]});
        let Ok(data) = post("/msg/get_conversations_has_read_and_max_seq", asked).await else {
            continue;
        };
        let seqs = &data["seqs"][&conversation];
        let number = |name: &str| seqs[name].as_i64().unwrap_or(0);
        let (read, newest) = (number("hasReadSeq"), number("maxSeq"));
        device.log().read(&who, &conversation, read, newest);
        let marked = json!({"userID": user, "conversationID": conversation, "hasReadSeq": newest, "seqs": []});
        if newest > 0 && post("/msg/mark_conversation_as_read", marked).await.is_ok() {
            device.log().read(&who, &conversation, newest, newest);
        }
    }
}
