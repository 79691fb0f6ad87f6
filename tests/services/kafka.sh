#!/bin/sh
# A real Kafka broker (KRaft, one node) on 127.0.0.1 for tests.
#
#   kafka.sh start DIR PORT               start it with its data in DIR, print host:port once it answers
#   kafka.sh stop DIR                     stop what was started in DIR (the data stays)
#   kafka.sh kill DIR                     end it at once, as a crash does (the data stays)
#   kafka.sh freeze DIR                   let it stand still, and
#   kafka.sh thaw DIR                     go on
#   kafka.sh topic DIR NAME PARTITIONS    create a topic (`NAME?key=value,..` with this configuration)
#   kafka.sh produce DIR TOPIC FILE       one message a line of FILE; `key<TAB>value` where a tab is
#   kafka.sh consume DIR TOPIC COUNT      print COUNT messages from the beginning (values), then end
#   kafka.sh drain DIR TOPIC              print all committed messages, until none has come for three seconds
#   kafka.sh session DIR                  take such commands from standard input, without DIR, one a line; a line
#                                         `--- done` or `--- failed: REASON` ends the answer to each
#   kafka.sh offsets DIR TOPIC            print `partition end-offset` a line (committed, read_committed)
#
# PORT+1 is the controller's. Starting in a DIR whose broker was killed takes up its data again.
# Exits with 77 and a reason on stderr where Kafka cannot be had.
set -eu

KAFKA_VERSION="${KAFKA_VERSION:-4.1.2}"
LOG4J_VERSION="2.24.3"
START_SECONDS_MAX=60
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}/kafka/$KAFKA_VERSION"

skip() { echo "kafka: $1" >&2; exit 77; }
fail() { echo "kafka: $1" >&2; exit 1; }

# Only one process at a time fills the cache.
install() {
    ready="$cache/.ready-$(cat "$0" "$here/KafkaTool.java" | cksum | cut -d' ' -f1)"
    [ ! -f "$ready" ] || return 0
    mkdir -p "$cache"
    exec 9> "$cache/.lock"
    flock 9
    [ -f "$ready" ] || fill_cache
    exec 9>&-
}

fill_cache() {
    command -v javac >/dev/null 2>&1 || install_package openjdk-17-jdk-headless
    command -v javac >/dev/null 2>&1 || skip "no JDK (17 or newer)"
    if [ ! -f "$cache/.jars" ]; then
        command -v mvn >/dev/null 2>&1 || install_package maven
        command -v mvn >/dev/null 2>&1 || skip "no mvn to fetch Kafka's jars with"
        mkdir -p "$cache/jars"
        cat > "$cache/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidemill.tests</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>$LOG4J_VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J_VERSION</version></dependency>
  </dependencies>
</project>
POM
        mvn -q -B -f "$cache/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
            -DincludeScope=runtime "-DoutputDirectory=$cache/jars" >&2 || skip "cannot fetch Kafka $KAFKA_VERSION from Maven Central"
        touch "$cache/.jars"
    fi
    rm -rf "$cache/classes" "$cache"/.ready-*
    mkdir -p "$cache/classes"
    javac -nowarn -proc:none -d "$cache/classes" -cp "$cache/jars/*" "$here/KafkaTool.java"
    cat > "$cache/log4j2.properties" <<'LOG'
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = Console
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1}: %m%n
# A client that waits for its broker is no news.
logger.client.name = org.apache.kafka.clients.NetworkClient
logger.client.level = OFF
LOG
    # Every broker begins with a copy of one formatted directory, which saves a JVM start each. They
    # share a cluster id, which plays no part where each is alone.
    rm -rf "$cache/formatted"
    printf '%s\n' process.roles=broker,controller node.id=1 controller.quorum.voters=1@127.0.0.1:1 \
        listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:1 controller.listener.names=CONTROLLER \
        "log.dirs=$cache/formatted" > "$cache/format.properties"
    run_java kafka.tools.StorageTool format -t dGlkZW1pbGwtdGVzdHMtMQ -c "$cache/format.properties" > "$cache/format.log" 2>&1 \
        || fail "cannot format a directory: $(grep -v '^\s*at ' "$cache/format.log" | tail -1)"
    touch "$ready"
}

# Small, single-threaded JVMs start fastest.
run_java() {
    java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto \
        "-Dlog4j2.configurationFile=$cache/log4j2.properties" -cp "$cache/classes:$cache/jars/*" "$@"
}

# True when a port is taken and stays so: what was killed a moment ago may still hold it.
in_use() {
    for _ in 1 2 3 4 5; do
        bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" 2>/dev/null || return 1
        sleep 0.2
    done
}

# True while the process that was started in a directory runs; neither a zombie nor another process
# that got its id counts.
alive() {
    [ -f "$1/pid" ] && [ "$(started "$(cat "$1/pid")")" = "$(cat "$1/started" 2>/dev/null)" ]
}

# The start time of a process in clock ticks; nothing for a dead one.
started() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || { echo dead; return; }
    # shellcheck disable=SC2086  # fields
    set -- ${stat##*) }
    if [ "$1" = Z ] || [ "$1" = X ]; then echo dead; else echo "${20}"; fi
}

# Ends the process of a directory: the signal, then after ten seconds the next one.
end() {
    for signal in "$2" "$3"; do
        alive "$1" || break
        kill "-$signal" "$(cat "$1/pid")" 2>/dev/null || true
        for _ in $(seq 100); do alive "$1" || break; sleep 0.1; done
    done
    rm -f "$1/pid" "$1/started"
}

start() {
    dir=$1 port=$2
    install
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    # One that was killed a moment ago may not be gone yet.
    if alive "$dir" && sleep 0.3 && alive "$dir"; then
        [ "$(cat "$dir/port")" = "$port" ] || fail "$dir already runs a broker on port $(cat "$dir/port")"
        echo "127.0.0.1:$port"
        return 0
    fi
    in_use "$port" && fail "port $port is taken"
    in_use $((port + 1)) && fail "port $((port + 1)), which the controller needs, is taken"
    cat > "$dir/server.properties" <<PROPS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
# Transactions that take too long are aborted soon after, instead of up to ten seconds later.
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A broker that was killed is let in again once its old session is over: nine seconds by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
log.flush.scheduler.interval.ms=9223372036854775807
message.max.bytes=10485760
PROPS
    [ -f "$dir/data/meta.properties" ] || cp -r "$cache/formatted" "$dir/data"
    echo "$port" > "$dir/port"
    nohup java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto \
        "-Dlog4j2.configurationFile=$cache/log4j2.properties" -cp "$cache/classes:$cache/jars/*" \
        kafka.Kafka "$dir/server.properties" > "$dir/log" 2>&1 < /dev/null &
    pid=$!
    started "$pid" > "$dir/started"
    echo "$pid" > "$dir/pid"
    # The port opens before the broker is registered: ask it for its cluster until it answers.
    run_java KafkaTool wait "127.0.0.1:$port" "$START_SECONDS_MAX" > /dev/null 2> "$dir/wait.log" &
    waiting=$!
    while kill -0 "$waiting" 2>/dev/null; do
        alive "$dir" || { kill "$waiting" 2>/dev/null || true; break; }
        sleep 0.1
    done
    if ! wait "$waiting"; then
        stop "$dir"
        fail "no answer on port $port in $START_SECONDS_MAX s: $(grep -v '^\s*at \|^\s*\.\.\. ' "$dir/log" | tail -3)"
    fi
    echo "127.0.0.1:$port"
}

stop() { signal "$1" CONT; end "$1" TERM KILL; }

# Sends a signal to the process of a directory.
signal() { alive "$1" && kill "-$2" "$(cat "$1/pid")" 2>/dev/null || true; }

tool() {
    dir=$1; shift
    [ -f "$dir/port" ] || fail "nothing was started in $dir"
    install
    command=$1; shift
    run_java KafkaTool "$command" "127.0.0.1:$(cat "$dir/port")" "$@"
}

case "${1:-}:$#" in
    start:3) start "$2" "$3" ;;
    stop:2) stop "$2" ;;
    kill:2) end "$2" KILL KILL ;;
    freeze:2) signal "$2" STOP ;;
    thaw:2) signal "$2" CONT ;;
    topic:4) tool "$2" topic "$3" "$4" ;;
    produce:4) tool "$2" produce "$3" "$4" ;;
    consume:4) tool "$2" consume "$3" "$4" ;;
    drain:3) tool "$2" drain "$3" ;;
    session:2) tool "$2" session ;;
    offsets:3) tool "$2" offsets "$3" ;;
    *) sed -n '4,16s/^# *//p' "$0" >&2; exit 2 ;;
esac
