# shellcheck shell=bash
# Processes in the background: a log and a pid file each.

say() { printf '%s\n' "$*" >&2; }

# `launch NAME COMMAND…`: logs/NAME.log, run/NAME.pid. The first process of the namespace inherits it,
# and nobody says a word when it ends.
launch() {
    local name=$1
    shift
    (
        setsid "$@" >>"$ground/logs/$name.log" 2>&1 </dev/null &
        echo $! >"$ground/run/$name.pid"
    )
}

# `until_true SECONDS WHAT COMMAND…`: waits for the command to succeed.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$end" ]; then
            say "gave up waiting for $what"
            return 1
        fi
        sleep 0.2
    done
}
