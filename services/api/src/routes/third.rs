//! `/third` and `/object`: push tokens, badges, logs, object storage (rest-api.md 4.7, 4.8).

use magpie_discovery::name::THIRD;
use magpie_proto::openim::third::third_client::ThirdClient;

super::plain! { ROUTES: ThirdClient of THIRD;
    "/third/fcm_update_token" => fcm_update_token;
    "/third/set_app_badge" => set_app_badge;
    "/third/logs/upload" => upload_logs;
    "/third/logs/delete" => delete_logs;
    "/third/logs/search" => search_logs;
}

super::plain! { OBJECTS: ThirdClient of THIRD;
    "/object/part_limit" => part_limit;
    "/object/part_size" => part_size;
    "/object/initiate_multipart_upload" => initiate_multipart_upload;
    "/object/auth_sign" => auth_sign;
    "/object/complete_multipart_upload" => complete_multipart_upload;
    "/object/access_url" => access_url;
    "/object/initiate_form_data" => initiate_form_data;
    "/object/complete_form_data" => complete_form_data;
}
