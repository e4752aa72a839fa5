//! `/auth`: tokens (rest-api.md 4.1).

use magpie_discovery::name::AUTH;
use magpie_proto::openim::auth::auth_client::AuthClient;

use super::Access::{Admin, Open};

super::plain! { ROUTES: AuthClient of AUTH;
    "/auth/get_admin_token": Open => get_admin_token;
    "/auth/get_user_token": Admin => get_user_token;
    "/auth/parse_token": Open => parse_token;
    "/auth/force_logout": Admin => force_logout;
}
