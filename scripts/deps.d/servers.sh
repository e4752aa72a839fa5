# How each server runs (serve_NAME DIR PORT NODE QUORUM ARGUMENT…, ends in exec) and when it answers. Sourced by scripts/deps.

serve_etcd() {
  local dir=$1 port=$2 peer=$(($2 + 1))
  shift 4
  exec etcd --name "etcd-$port" --data-dir "$dir/data" \
    --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "etcd-$port=http://127.0.0.1:$peer" --logger zap --log-level warn "$@"
}

serve_redis() {
  local dir=$1 port=$2
  shift 4
  mkdir -p "$dir/data"
  exec redis-server --bind 127.0.0.1 --port "$port" --dir "$dir/data" --save "" --appendonly yes --appendfsync everysec \
    --daemonize no "$@"
}

# Without --sync-on-commit a killed SecantusDB loses acknowledged writes.
serve_mongo() {
  local dir=$1 port=$2
  shift 4
  mkdir -p "$dir/data"
  exec "$mongo_home/bin/secantusd-rs" --host 127.0.0.1 --port "$port" --storage-path "$dir/data" --sync-on-commit "$@"
}

serve_mongo_java() {
  local dir=$1 port=$2
  shift 4
  exec java -XX:+UseSerialGC -Xmx512m -cp "$mongo_java_home:$mongo_java_home/*" MongoJavaServer "$port" "$dir/data.mv" "$@"
}

# Broker and controller in one process. Without slf4j-simple on the class path it would not even say why it died.
serve_kafka() {
  local dir=$1 port=$2 node=$3 quorum=${4:-$3@127.0.0.1:$(($2 + 1))} replicas isr=1 controller
  shift 4
  replicas=$(tr -cd , <<<"$quorum" | wc -c)
  replicas=$((replicas + 1))
  [ $replicas -lt 3 ] || isr=2
  controller=$(tr , '\n' <<<"$quorum" | sed -n "s/^$node@//p")
  [ -n "$controller" ] || die "--quorum $quorum does not name node $node"
  cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$quorum
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
default.replication.factor=$replicas
min.insync.replicas=$isr
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$replicas
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$isr
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
# a killed broker is fenced after this long, and its restart waits for it (default: 9000)
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
# an acknowledgement means "in the page cache": kill -9 loses nothing, a power cut may
log.flush.interval.ms=1000
P
  local java=(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
    -Dorg.slf4j.simpleLogger.showDateTime=true -cp "$kafka_home/*")
  if [ ! -f "$dir/data/meta.properties" ]; then
    "${java[@]}" -Xmx128m kafka.tools.StorageTool format -t TWFncGllTWFncGllMDAwMA -c "$dir/server.properties"
  fi
  # ARGUMENTs are of Kafka's own form: --override NAME=VALUE
  exec "${java[@]}" -Xms128m -Xmx256m kafka.Kafka "$dir/server.properties" "$@"
}

# Whether the server on the port answers a request of its protocol. Each try is bounded.
answers() {
  local port=$2
  case $1 in
    etcd) ETCDCTL_API=3 etcdctl --endpoints "http://127.0.0.1:$port" --command-timeout=2s endpoint health ;;
    kafka) timeout 5 kcat -b "127.0.0.1:$port" -L -m 2 ;;
    mongo | mongo-java) [ -n "$(ask "$port" "$hello" 4)" ] ;;
    redis) [[ "$(ask "$port" 'PING\r\n' 3)" == @(+PO|-NO) ]] ;; # PONG or NOAUTH, not LOADING
  esac >/dev/null 2>&1
}

# An OP_MSG with {hello: 1, $db: "admin"}.
readonly hello='\x34\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x1f\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0'

# Sends $2 (printf's escapes) to a port of this machine; prints the first $3 bytes of the answer, as text.
ask() {
  timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "$2" >&3 && head -c "$3" <&3 | tr "\0" 0' - "$@"
}
