# How scripts/deps gets its servers. Sourced; uses $cache, $here, say, die and each.
#
# etcd and Redis are packages of the distribution. The others go to $cache/NAME-VERSION: made in a folder beside it and renamed, so
# that it is complete or absent. To take another version, change it here; the old folder may be deleted.

readonly kafka_version=4.1.0
readonly mongo_version=0.5.3-beta.193 # of SecantusDB: GPL-2.0, a process of its own in tests only, never linked or shipped
readonly mongo_java_version=1.47.0

readonly kafka_home=$cache/kafka-$kafka_version
readonly mongo_home=$cache/mongo-$mongo_version
readonly mongo_java_home=$cache/mongo-java-$mongo_java_version

is_installed() {
  case $1 in
    etcd) command -v etcd etcdctl >/dev/null ;;
    redis) command -v redis-server >/dev/null ;;
    kafka) [ -d "$kafka_home" ] && command -v java kcat >/dev/null ;;
    mongo) [ -d "$mongo_home" ] ;;
    mongo-java) [ -d "$mongo_java_home" ] && command -v java >/dev/null ;;
  esac
}

# Commands that a server needs here, to run or to be made, and their Debian packages.
needs() {
  case $1 in
    etcd) echo etcd:etcd-server etcdctl:etcd-client ;;
    redis) echo redis-server:redis-server ;;
    kafka) echo java:default-jre-headless kcat:kcat mvn:maven ;;
    mongo) echo cargo:cargo cmake:cmake cc:gcc c++:g++ make:make ;;
    mongo-java) echo javac:default-jdk-headless mvn:maven ;;
  esac
}

install_all() {
  local name missing=()
  for name in "$@"; do is_installed "$name" || missing+=("$name"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  mkdir -p "$cache"
  install_packages "${missing[@]}"
  each install "${missing[@]}"
}

# One run of apt for all: two at once would delete each other's downloads.
install_packages() {
  local name need packages=()
  for name in "$@"; do
    for need in $(needs "$name"); do
      command -v "${need%%:*}" >/dev/null || packages+=("${need#*:}")
    done
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "these are missing: ${packages[*]} (names of Debian packages). Install them, for instance by
  sudo apt-get install -y --no-install-recommends ${packages[*]}
and repeat; everything else needs no root"
  fi
  say "installing Debian packages: ${packages[*]}"
  (
    flock 8
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=300 update
    apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}"
  ) 8>"$cache/apt.lock" >"$cache/apt.log" 2>&1 || die "apt-get failed; its log is $cache/apt.log"
}

install_one() {
  local name=$1 home
  case $name in
    kafka) home=$kafka_home ;;
    mongo) home=$mongo_home ;;
    mongo-java) home=$mongo_java_home ;;
    *) return 0 ;; # the package is all
  esac
  (
    flock 8 # somebody else may be at it
    [ ! -d "$home" ] || exit 0
    rm -rf "$home.part"
    mkdir "$home.part"
    "say_${name//-/_}"
    "fetch_${name//-/_}" "$home.part" >"$home.log" 2>&1 || die "installing $name failed; its log is $home.log"
    mv "$home.part" "$home"
    rm "$home.log"
    say "$name: installed in $home"
  ) 8>"$home.lock"
}

say_kafka() { say "kafka: fetching $kafka_version from Maven Central (43 MB)"; }
fetch_kafka() {
  mvn -B -q -f "$here/deps.d/kafka-pom.xml" -Dkafka.version=$kafka_version dependency:copy-dependencies -DoutputDirectory="$1"
}

say_mongo() { say "mongo: building SecantusDB $mongo_version (about 6 minutes of processor time, once)"; }
# The build folder stays until the end, so that an interrupted build goes on where it was. It does without the optimisation over crates
# that its release profile asks for, which takes long and which tests do not need.
fetch_mongo() {
  cd "$cache" && CARGO_TARGET_DIR=$mongo_home.build CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    nice cargo install secantus-mdb --version "=$mongo_version" \
    --ignore-rust-version --root "$1" && rm -rf "$mongo_home.build"
}

say_mongo_java() { say "mongo-java: fetching $mongo_java_version from Maven Central (6 MB)"; }
fetch_mongo_java() {
  mvn -B -q -f "$here/deps.d/mongo-java-pom.xml" -Dserver.version=$mongo_java_version dependency:copy-dependencies \
    -DoutputDirectory="$1" && javac -cp "$1/*" -d "$1" "$here/deps.d/MongoJavaServer.java"
}
