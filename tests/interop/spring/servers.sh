# Database servers on loopback, on ports that the system chooses. Source it after scripts/lib.sh.

# free_port: prints a port that is free now.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# await NAME PID LOG COMMAND…: waits until the command succeeds.
await() {
  local name=$1 pid=$2 log=$3 polls
  shift 3
  for ((polls = 0; polls < 300; polls++)); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  echo "$name did not become ready. Its output, $log:" >&2
  cat "$log" >&2
  return 1
}

# start_postgresql FOLDER: sets POSTGRESQL_PORT and `postgresql`, its process id. PostgreSQL refuses
# to run as root, so root runs it as the user of Debian's package.
start_postgresql() {
  local data=$1 log=$1.log as=()
  rm -rf "$data"
  mkdir -p "$data"
  if ((EUID == 0)); then
    chown postgres: "$data"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  fi
  POSTGRESQL_PORT=$(free_port)
  (
    cd /
    "${as[@]}" "$postgresql_programs/initdb" --pgdata="$data" --auth=trust --username=spring \
      --encoding=UTF8 --locale=C.UTF-8 --no-sync
    exec "${as[@]}" "$postgresql_programs/postgres" -D "$data" -h 127.0.0.1 -p "$POSTGRESQL_PORT" -k '' -F
  ) >"$log" 2>&1 </dev/null &
  postgresql=$!
  export POSTGRESQL_PORT
  await PostgreSQL "$postgresql" "$log" psql -h 127.0.0.1 -p "$POSTGRESQL_PORT" -U spring -d postgres -c 'SELECT 1'
}

# start_mariadb FOLDER: sets MARIADB_PORT and `mariadb`, its process id.
start_mariadb() {
  local data=$1 log=$1.log
  rm -rf "$data"
  MARIADB_PORT=$(free_port)
  (
    mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal \
      --skip-test-db --user="$(id -un)"
    cd "$data"
    exec "$mariadbd" --no-defaults --datadir="$data" --bind-address=127.0.0.1 --port="$MARIADB_PORT" \
      --socket=socket --pid-file=pid --user="$(id -un)" --innodb-flush-log-at-trx-commit=0
  ) >"$log" 2>&1 </dev/null &
  mariadb=$!
  export MARIADB_PORT
  await MariaDB "$mariadb" "$log" mariadb --no-defaults --protocol=tcp -h 127.0.0.1 -P "$MARIADB_PORT" -u root -e 'SELECT 1'
}

# stop_servers: ends what was started.
stop_servers() {
  # SIGINT does not wait for PostgreSQL's clients.
  [[ -z ${postgresql:-} ]] || kill -INT "$postgresql" 2>/dev/null || true
  [[ -z ${mariadb:-} ]] || kill "$mariadb" 2>/dev/null || true
  wait ${postgresql:-} ${mariadb:-} 2>/dev/null || true
}
