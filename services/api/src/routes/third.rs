//! `/third` and `/object`: push tokens, badges, logs, object storage (rest-api.md 4.7, 4.8).

use magpie_discovery::name::THIRD;
use magpie_proto::openim::third::third_client::ThirdClient;

use super::Access::{Admin, Any, Own};

super::plain! { ROUTES: ThirdClient of THIRD;
    "/third/fcm_update_token": Any => fcm_update_token;
    "/third/set_app_badge": Own(&["userID"]) => set_app_badge;
    "/third/logs/upload": Any => upload_logs;
    "/third/logs/delete": Admin => delete_logs;
    "/third/logs/search": Admin => search_logs;
}

super::plain! { OBJECTS: ThirdClient of THIRD;
    "/object/part_limit": Any => part_limit;
    "/object/part_size": Any => part_size;
    "/object/initiate_multipart_upload": Any => initiate_multipart_upload;
    "/object/auth_sign": Any => auth_sign;
    "/object/complete_multipart_upload": Any => complete_multipart_upload;
    "/object/access_url": Any => access_url;
    "/object/initiate_form_data": Any => initiate_form_data;
    "/object/complete_form_data": Any => complete_form_data;
}
