//! Where the settings of an OpenIM 3.8 deployment have gone.

/// File of OpenIM, key, and the key here or why there is none.
pub(super) const NAMES: &[(&str, &str, &str)] = &[
    ("share.yml", "secret", "`shared.secret`, `data.secret_file`"),
    (
        "share.yml",
        "imAdminUser.userIDs (3.8.3: imAdminUserID)",
        "`shared.admin_user_ids`",
    ),
    (
        "share.yml",
        "imAdminUser.nicknames",
        "`user.admin_nicknames`",
    ),
    (
        "share.yml",
        "multiLogin.policy (3.8.0: multiLoginPolicy)",
        "`auth.multi_login_policy`",
    ),
    (
        "share.yml",
        "multiLogin.maxNumOneEnd",
        "`auth.max_num_one_end`",
    ),
    (
        "share.yml",
        "rpcMaxBodySize.requestMaxBodySize",
        "`grpc.max_message_bytes`",
    ),
    (
        "share.yml",
        "rpcMaxBodySize.responseMaxBodySize",
        "no limit of its own; pages are bounded",
    ),
    (
        "openim-rpc-auth.yml",
        "tokenPolicy.expire",
        "`auth.token_expire_days`",
    ),
    ("openim-rpc-msg.yml", "friendVerify", "`msg.friend_verify`"),
    (
        "openim-rpc-group.yml",
        "enableHistoryForNewMembers",
        "`group.history_for_new_members`",
    ),
    ("openim-api.yml", "api.listenIP, api.ports", "`listen.api`"),
    ("openim-api.yml", "api.compressionLevel", "none yet"),
    ("openim-api.yml", "prometheus.grafanaURL", "none yet"),
    (
        "openim-api.yml and others",
        "ratelimiter.*, circuitBreaker.*",
        "none: every queue is bounded by its own setting",
    ),
    (
        "openim-msggateway.yml",
        "listenIP, longConnSvr.ports",
        "`listen.ws`",
    ),
    (
        "openim-msggateway.yml",
        "longConnSvr.websocketMaxConnNum",
        "`gateway.max_connections`",
    ),
    (
        "openim-msggateway.yml",
        "longConnSvr.websocketMaxMsgLen",
        "`gateway.max_message_bytes`",
    ),
    (
        "openim-msggateway.yml",
        "longConnSvr.websocketTimeout",
        "`gateway.handshake_timeout_ms`",
    ),
    (
        "openim-crontask.yml",
        "cronExecuteTime, retainChatRecords, fileExpireTime, deleteObjectType",
        "comes with the cron role",
    ),
    (
        "openim-push.yml",
        "enable, getui.*, fcm.*, jpush.*, iosPush.*",
        "comes with offline push",
    ),
    (
        "openim-push.yml",
        "maxConcurrentWorkers, fullUserCache",
        "none",
    ),
    (
        "openim-rpc-third.yml, minio.yml",
        "object.*, minio",
        "comes with object storage",
    ),
    ("notification.yml", "all blocks", "none yet"),
    ("webhooks.yml", "all", "comes with webhooks"),
    (
        "mongodb.yml, redis.yml, kafka.yml, discovery.yml",
        "all",
        "the sections `mongo`, `redis`, `kafka`, `etcd`; `magpie up` needs none",
    ),
    (
        "local-cache.yml",
        "all",
        "`auth.cache_ms`, `auth.cache_users`, `msg.cache_seconds`, `msg.cache_entries`",
    ),
    ("log.yml", "remainLogLevel", "`telemetry.log_filter`"),
    ("log.yml", "isJson", "`telemetry.log_format`"),
    (
        "log.yml",
        "storageLocation, rotationTime, remainRotationCount, isStdout, isSimplify",
        "none: logs go to stderr",
    ),
    ("openim-*.yml", "rpc.listenIP, rpc.ports", "`listen.grpc`"),
    (
        "openim-*.yml",
        "rpc.registerIP, rpc.autoSetPorts",
        "`cluster.advertise_host`, `listen.internal`",
    ),
    (
        "openim-*.yml",
        "prometheus.enable, prometheus.ports",
        "`listen.ops`, path `/metrics`",
    ),
];
