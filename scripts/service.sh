# What the scripts that start servers share; sourced, never run. A server lives in a directory of its own, is known
# by the pid file in it, listens on 127.0.0.1 only, and is stopped by that pid and nothing else.
# shellcheck shell=bash

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# The directory as an absolute path, made if it is not there.
absolute() {
  mkdir -p "$1"
  (cd "$1" && pwd)
}

port_is_free() {
  ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A free port below the kernel's own range, so that no outgoing connection takes it before the server does.
free_port() {
  local port try
  for try in $(seq 200); do
    port=$((20000 + RANDOM % 12000))
    if port_is_free "$port"; then
      echo "$port"
      return
    fi
  done
  die "no free port found in $try tries between 20000 and 32000"
}

# is_running PID_FILE WORD: the process is there, and WORD stands on its command line, so that a pid which the system
# has given to somebody else since is never taken for ours.
is_running() {
  local pid
  [ -s "$1" ] || return 1
  pid=$(head -1 "$1")
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$2"
} 2>/dev/null

# has_ended PID: there is no such process, or nobody has asked yet how it ended.
has_ended() {
  local state
  state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
  [ -z "$state" ] || [ "$state" = Z ]
}

# stop PID_FILE WORD: ends the process (SIGTERM, after 20 s SIGKILL) and waits until it is gone.
stop() {
  local pid tick
  if is_running "$1" "$2"; then
    pid=$(head -1 "$1")
    kill "$pid"
    for tick in $(seq 200); do
      is_running "$1" "$2" || break
      [ "$tick" = 200 ] && kill -KILL "$pid"
      sleep 0.1
    done
  fi
  rm -f "$1"
}

# wait_for SECONDS PID_FILE LOG COMMAND...: until the command succeeds; if the process ends before, or the time is over,
# shows the end of its log and fails. The process may have been started a moment ago: its command line says nothing yet.
wait_for() {
  local seconds=$1 pid_file=$2 log=$3
  shift 3
  local end=$((SECONDS + seconds))
  while ! "$@"; do
    if has_ended "$(head -1 "$pid_file")" || [ "$SECONDS" -ge "$end" ]; then
      tail -30 "$log" >&2
      return 1
    fi
    sleep 0.1
  done
}

# maven_jars DIR ARTIFACT...: the jars of the artifacts (group:name:version) and of all that they need, once.
maven_jars() {
  local into=$1 wanted artifact group name version
  shift
  wanted="$*"
  mkdir -p "$into"
  exec 9>"$into/.lock"
  flock 9
  if [ "$(cat "$into/.complete" 2>/dev/null)" != "$wanted" ]; then
    command -v mvn >/dev/null || die "mvn is missing: run scripts/setup.sh lanes"
    echo "fetching $wanted from Maven" >&2
    rm -rf "$into/libs"
    {
      echo "<project><modelVersion>4.0.0</modelVersion><groupId>lakemill</groupId><artifactId>tools</artifactId>"
      echo "<version>1</version><dependencies>"
      for artifact in "$@"; do
        IFS=: read -r group name version <<<"$artifact"
        echo "<dependency><groupId>$group</groupId><artifactId>$name</artifactId><version>$version</version></dependency>"
      done
      echo "</dependencies></project>"
    } >"$into/pom.xml"
    (cd "$into" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs >mvn.log 2>&1) ||
      { cat "$into/mvn.log" >&2; die "Maven could not fetch $wanted"; }
    echo "$wanted" >"$into/.complete"
  fi
  flock -u 9
  exec 9>&-
}
