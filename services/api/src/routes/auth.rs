//! `/auth`: tokens (rest-api.md 4.1).

use magpie_discovery::name::AUTH;
use magpie_proto::openim::auth::auth_client::AuthClient;

super::plain! { ROUTES: AuthClient of AUTH;
    "/auth/get_admin_token" => get_admin_token;
    "/auth/get_user_token" => get_user_token;
    "/auth/parse_token" => parse_token;
    "/auth/force_logout" => force_logout;
}
