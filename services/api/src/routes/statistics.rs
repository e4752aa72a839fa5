//! `/statistics` (rest-api.md 4.9).

use magpie_discovery::name::{GROUP, MSG, USER};
use magpie_proto::openim::{
    group::group_client::GroupClient, msg::msg_client::MsgClient, user::user_client::UserClient,
};

use super::Access::Admin;

super::plain! { USERS: UserClient of USER;
    "/statistics/user/register": Admin => user_register_count;
}

super::plain! { GROUPS: GroupClient of GROUP;
    "/statistics/group/create": Admin => group_create_count;
}

super::plain! { MESSAGES: MsgClient of MSG;
    "/statistics/user/active": Admin => get_active_user;
    "/statistics/group/active": Admin => get_active_group;
}
