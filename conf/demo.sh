#!/bin/sh
# Run by `make demo`: print what will change on this machine, install, start a local fleet, run some requests.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
log() { printf 'demo: %s\n' "$*"; }

# -- check this machine

command -v "$python" >/dev/null || { log "$python not found: install Python 3.10 or newer"; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    log "$("$python" --version) is too old: set PYTHON to 3.10 or newer"
    exit 1
}
privileged=no
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && privileged=yes
missing=
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
if [ -n "$missing" ] && [ "$privileged" = no ]; then
    log "$python lacks its venv module: install $missing, or set PYTHON to another one"
    exit 1
fi
log "$("$python" --version): collective and its libraries go into .venv"
if [ "$privileged" = yes ]; then
    log "root and apt: the packages ${missing:+$missing, }monitoring-plugins-basic and zsh will be installed on this machine"
elif [ "$(id -u)" = 0 ]; then
    log "no apt: nothing is installed on this machine; the demo skips the package and uses its own disk check"
else
    log "not root: nothing is installed on this machine; the demo skips the package and uses its own disk check"
fi
log "the fleet is five daemons and a server on loopback, in a folder below /tmp; both are removed at the end"

# -- install

if [ "$privileged" = yes ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # shellcheck disable=SC2086 # one argument per package
    apt-get -qq install -y $missing monitoring-plugins-basic >/dev/null
fi
if [ ! -x .venv/bin/crpc ]; then
    "$python" -m venv .venv
    .venv/bin/pip install --quiet --require-hashes --requirement requirements/demo.txt
    .venv/bin/pip install --quiet --no-deps --no-build-isolation --editable .
fi

# -- start the fleet, run requests

PATH="$PWD/.venv/bin:$PATH" PRIVILEGED=$privileged exec .venv/bin/crpc lab run --nodes 5 -- sh -c '
    show() {  # expected exit code, command
        expected=$1; shift; code=0
        printf "\n\$ %s\n" "$*"; eval "$@" || code=$?
        [ "$code" = "$expected" ] || { echo "demo: exit code $code, not $expected"; exit 1; }
    }
    show 0 crpc ping
    [ "$PRIVILEGED" = no ] || show 0 crpc package install package=zsh
    show 2 crpc nrpe runcommand command=check_disk  # one of five is critical: exit code 2
    show 0 "crpc shell run command=\"hostname -f\" --yes"
'
