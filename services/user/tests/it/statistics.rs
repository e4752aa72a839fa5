//! How many users registered when.

use magpie_proto::openim::user::UserRegisterCountReq;
use magpie_service::Context;
use magpie_testkit::{admin, code, user};
use magpie_types::time::now_ms;

use super::start;

#[tokio::test]
async fn users_are_counted_by_the_day_they_came() {
    let (_world, client) = start().await;
    let ask = |ctx: Context, start, end| {
        let mut client = client.clone();
        async move {
            let req = UserRegisterCountReq { start, end };
            client.user_register_count(ctx.request(req)).await
        }
    };
    let now = now_ms();
    let hour = 3_600_000;
    let counted = ask(admin(), now - hour, now + hour).await.unwrap();
    let counted = counted.into_inner();
    // The administrator has been there always.
    assert_eq!((counted.total, counted.before), (4, 1));
    assert_eq!(counted.count.values().sum::<i64>(), 3);
    let later = ask(admin(), now + hour, now + hour).await.unwrap();
    let later = later.into_inner();
    assert_eq!((later.total, later.before, later.count.len()), (4, 4, 0));
    assert_eq!(code(ask(user("u1"), 1, 2).await), 1002);
    assert_eq!(code(ask(admin(), 0, 2).await), 1001);
    assert_eq!(code(ask(admin(), 3, 2).await), 1001);
}
