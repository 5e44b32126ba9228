# Functions that the scripts share. Source it; it changes to the workspace root and sets `target`,
# cargo's target folder.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "${CARGO_TARGET_DIR:=target}"
target=$(cd "$CARGO_TARGET_DIR" && pwd)

# No proxy between the tests and the servers, which are all on this machine.
export NO_PROXY=${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost
export no_proxy=$NO_PROXY PYTHONDONTWRITEBYTECODE=1

# install_venv REQUIREMENTS: installs a Python virtual environment and sets `venv` to its folder.
# Each requirements file has its own environment, which is installed again only if the file or the
# interpreter changes.
install_venv() {
  local name=${1%requirements.txt} wanted
  name=${name%[-/]}
  venv=$target/venvs/${name##*/}
  wanted=$({ python3 --version; cat "$1"; } | sha256sum)
  if [[ ! -f $venv/installed || $(<"$venv/installed") != "$wanted" ]]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$1"
    echo "$wanted" >"$venv/installed"
  fi
}

# install_node_modules FOLDER: installs the packages of FOLDER/package-lock.json and sets `modules`
# to the folder that `node_modules` is in. It installs again only if the lock file or the
# interpreter changes.
install_node_modules() {
  local wanted
  modules=$target/node/$(basename "$1")
  wanted=$({ node --version; cat "$1/package-lock.json"; } | sha256sum)
  if [[ ! -f $modules/installed || $(<"$modules/installed") != "$wanted" ]]; then
    rm -rf "$modules"
    mkdir -p "$modules"
    cp "$1/package.json" "$1/package-lock.json" "$modules/"
    npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund --loglevel=error
    echo "$wanted" >"$modules/installed"
  fi
}

# install_jars FOLDER: downloads the dependencies in FOLDER/pom.xml and sets `jars` to their folder. It
# downloads again only if the file changes.
install_jars() {
  local wanted
  jars=$target/jars/$(basename "$1")
  wanted=$(sha256sum <"$1/pom.xml")
  if [[ ! -f $jars/installed || $(<"$jars/installed") != "$wanted" ]]; then
    rm -rf "$jars"
    mkdir -p "$jars"
    mvn --quiet --batch-mode --file "$1/pom.xml" \
      org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory="$jars"
    echo "$wanted" >"$jars/installed"
  fi
}

# start_dev DATA LOG: starts `countersign dev` with the data folder DATA and waits until it is
# ready. Sets `dev` to its process id and `issuer` to its URL. The caller ends it with stop_dev.
start_dev() {
  local log=$2 polls
  : >"$log"
  # Port 0 lets the system choose; the line that announces readiness names the port.
  "$target/debug/countersign" dev --port 0 --dynamodb-port 0 --data-dir "$1" >"$log" 2>&1 </dev/null &
  dev=$!
  for ((polls = 0; polls < 600; polls++)); do
    issuer=$(sed -nE 's|^listening on (http://[^ ]*[^ /]).*|\1|p' "$log" | head -n 1)
    [[ -z $issuer ]] || return 0
    kill -0 "$dev" 2>/dev/null || break
    sleep 0.1
  done
  echo "countersign dev did not become ready. Its output, $log:" >&2
  cat "$log" >&2
  return 1
}

# stop_dev: ends what start_dev has started, if anything.
stop_dev() {
  [[ -n ${dev:-} ]] || return 0
  kill "$dev" 2>/dev/null || true
  wait "$dev" 2>/dev/null || true
  dev=
}

# run_pytest NAME SECONDS ARGUMENT…: runs pytest of `venv` for at most SECONDS, with its report in
# target/checks/NAME.xml and its files in target/checks/NAME, and counts the results. It leads a
# process group, so that everything it starts ends with it. It takes over the EXIT trap. If `within`
# is set, it is a command that runs pytest, such as `unshare`.
run_pytest() {
  local report=$target/checks/$1.xml data=$target/checks/$1 status=0
  mkdir -p "$target/checks"
  rm -f "$report"
  set -m
  timeout --kill-after=10 "$2" "${within[@]}" "$venv/bin/python" -m pytest -q --tb=short -p no:cacheprovider \
    --basetemp="$data" --junitxml="$report" "${@:3}" </dev/null &
  set +m
  group=$!
  trap stop_group EXIT
  wait "$group" || status=1
  stop_group
  trap - EXIT
  if ! count_results "$status" "$report"; then
    echo "The logs of all processes: $data/*/*.log"
    return 1
  fi
}

stop_group() {
  kill -- "-$group" 2>/dev/null || true
  wait "$group" 2>/dev/null || true
}

# count_results STATUS REPORT…: prints how many tests passed and failed according to JUnit reports.
# Fails if one failed or none ran, and if STATUS, the runner's own, is not 0.
count_results() {
  local status=$1 failed passed
  shift
  # XML text escapes "<", so every match is an element.
  failed=$(grep -ohE '<(failure|error)[ >]' "$@" 2>/dev/null | wc -l || true)
  passed=$(($(grep -oh '<testcase ' "$@" 2>/dev/null | wc -l || true) - failed))
  if ((failed == 0 && (status != 0 || passed == 0))); then failed=1; fi
  echo "$passed passed, $failed failed"
  ((failed == 0))
}
