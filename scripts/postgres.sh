#!/usr/bin/env bash
# A real PostgreSQL server on this machine, for tests and examples.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/service.sh
. scripts/service.sh

usage() {
  cat <<'EOF'
usage: scripts/postgres.sh up DIR [DATABASE]
       scripts/postgres.sh sql DIR [PSQL OPTIONS...]
       scripts/postgres.sh down DIR
       scripts/postgres.sh remove DIR

up      starts a PostgreSQL server with a cluster of its own in DIR, ready for change data capture (wal_level=logical), on
        127.0.0.1 and a free port, makes the database (default: shop), and prints `host=127.0.0.1 port=... dbname=...
        user=postgres`, which is also in DIR/connection; the port alone is in DIR/port. Nothing but prints if it runs.
        As root the server runs as the system's user postgres.
sql     runs psql on it, without start-up file, stopping at the first error.
down    stops the server of DIR, and no other; the data stays.
remove  stops it and removes DIR with all data (as root the cluster itself lies outside of DIR, under /var/tmp).
EOF
}

bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)

# A server refuses to run as root: then everything of it is the user postgres's.
as_owner() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

# Where the cluster is. The user postgres may not be let into the checkout (a home directory of root's), so that root's
# clusters lie under /var/tmp, and DIR says where.
cluster_of() {
  if [ ! -s "$1/cluster" ]; then
    if [ "$(id -u)" = 0 ]; then
      mktemp -d /var/tmp/lakemill-postgres.XXXXXX >"$1/cluster"
      chown postgres "$(cat "$1/cluster")"
    else
      mkdir -p "$1/data"
      echo "$1/data" >"$1/cluster"
    fi
  fi
  cat "$1/cluster"
}

up() {
  local dir database=${2:-shop} cluster port
  [ -n "$bin" ] || die "PostgreSQL is missing: run scripts/setup.sh lanes"
  dir=$(absolute "$1")
  cluster=$(cluster_of "$dir")
  if ! as_owner "$bin/pg_ctl" -D "$cluster/db" status >/dev/null 2>&1; then
    [ -d "$cluster/db" ] ||
      as_owner "$bin/initdb" -A trust -U postgres -E UTF8 --locale=C.UTF-8 -D "$cluster/db" >"$dir/initdb.log" 2>&1 ||
      { cat "$dir/initdb.log" >&2; die "initdb failed"; }
    port=$(free_port)
    echo "$port" >"$dir/port"
    # No data of value: nothing is synced, which makes it quick.
    as_owner "$bin/pg_ctl" -D "$cluster/db" -l "$cluster/server.log" -w -t 60 start -o "-p $port \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c wal_level=logical -c max_wal_senders=64 \
      -c max_replication_slots=64 -c fsync=off -c timezone=UTC" >/dev/null 2>&1 9>&- ||
      { tail -20 "$cluster/server.log" >&2; die "PostgreSQL did not start"; }
    echo "host=127.0.0.1 port=$port dbname=$database user=postgres" >"$dir/connection"
  fi
  port=$(cat "$dir/port")
  local server="host=127.0.0.1 port=$port dbname=postgres user=postgres"
  "$bin/psql" -X -q -d "$server" -tAc "select 1 from pg_database where datname = '$database'" | grep -q 1 ||
    "$bin/psql" -X -q -d "$server" -c "create database $database"
  cat "$dir/connection"
}

down() {
  local dir cluster
  [ -s "$1/cluster" ] || return 0
  dir=$(absolute "$1")
  cluster=$(cat "$dir/cluster")
  if as_owner "$bin/pg_ctl" -D "$cluster/db" status >/dev/null 2>&1; then
    as_owner "$bin/pg_ctl" -D "$cluster/db" -m fast -w -t 60 stop >/dev/null
  fi
}

# A cluster outside of DIR would stay when DIR is removed: `rm` takes both.
remove() {
  local cluster
  down "$1"
  [ -s "$1/cluster" ] || return 0
  cluster=$(cat "$1/cluster")
  case "$cluster" in
    /var/tmp/lakemill-postgres.*) rm -rf "$cluster" ;;
  esac
  rm -rf "$1"
}

case "${1:-}" in
  -h | --help) usage ;;
  up) [ $# -ge 2 ] || { usage >&2; exit 2; }; up "${@:2}" ;;
  sql)
    [ $# -ge 2 ] || { usage >&2; exit 2; }
    exec "$bin/psql" -X -q -v ON_ERROR_STOP=1 -d "$(cat "$2/connection")" "${@:3}"
    ;;
  down) [ $# -eq 2 ] || { usage >&2; exit 2; }; down "$2" ;;
  remove) [ $# -eq 2 ] || { usage >&2; exit 2; }; remove "$2" ;;
  *) usage >&2; exit 2 ;;
esac
