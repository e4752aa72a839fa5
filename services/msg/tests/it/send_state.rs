//! What became of an operation's sends.

use magpie_proto::openim::msg::*;
use magpie_service::Context;
use magpie_testkit::{admin, code, user};

use crate::world::World;

const ARGS: i32 = 1001;
const NO_PERMISSION: i32 = 1002;

fn of(context: Context, operation: &str) -> Context {
    Context {
        operation_id: operation.to_owned(),
        ..context
    }
}

async fn set(world: &World, context: Context, status: i32) -> i32 {
    let request = context.request(SetSendMsgStatusReq { status });
    code(world.client().set_send_msg_status(request).await)
}

async fn get(world: &World, operation: &str) -> i32 {
    let request = of(user("u1"), operation).request(GetSendMsgStatusReq {});
    let answer = world.client().get_send_msg_status(request).await;
    answer.unwrap().into_inner().status
}

#[tokio::test]
async fn the_state_of_an_operation_is_kept_and_the_newest_counts() {
    let world = World::new().await;
    assert_eq!(get(&world, "op").await, 0);
    for status in [1, 3, 2] {
        assert_eq!(set(&world, of(admin(), "op"), status).await, 0);
        assert_eq!(get(&world, "op").await, status);
    }
    assert_eq!(get(&world, "other").await, 0);
    assert_eq!(set(&world, of(user("u1"), "op"), 1).await, NO_PERMISSION);
    for status in [0, 4, -1] {
        assert_eq!(set(&world, of(admin(), "op"), status).await, ARGS);
    }
    assert_eq!(set(&world, of(admin(), &"o".repeat(257)), 2).await, ARGS);
    assert_eq!(get(&world, "op").await, 2);
}
