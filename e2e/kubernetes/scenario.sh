# shellcheck shell=bash
# What scenarios begin with: a namespace of their own, and words for what they expect.
#
#   . "$(dirname "$0")/../scenario.sh"

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
namespace=e2e-$scenario
tools_image=${QUORATE_E2E_TOOLS_IMAGE:-localhost/quorate-tools:e2e}
node_image=${QUORATE_E2E_NODE_IMAGE:-localhost/quorate:e2e}

# With `needs: nodes`: lose_node, start_node, and what they use.
if [ -n "${ground:-}" ]; then
    for part in processes network nodes; do
        # shellcheck source=/dev/null
        . "$here/ground/$part.sh"
    done
fi

step() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }
# What the table tells besides the result.
note() { printf 'NOTE: %s\n' "$*"; }
skip() { printf '%s\n' "$*"; exit 77; }

k() { kubectl --namespace "$namespace" "$@"; }

# Pods of scenarios are held to the strictest standard, as those of the product are.
make_namespace() {
    kubectl create namespace "$namespace"
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
}

# `expect WHAT EXPECTED FOUND`
expect() { [ "$2" = "$3" ] || fail "$1: expected ${2@Q}, found ${3@Q}"; }

# `eventually SECONDS WHAT COMMAND…`: the command succeeds in time. Its time is the scenario's limit,
# not what is tested.
eventually() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "waited in vain for $what"
        sleep 0.3
    done
    step "$what"
}

# `never SECONDS WHAT COMMAND…`: the command does not succeed meanwhile.
never() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    while [ "$SECONDS" -lt "$end" ]; do
        ! "$@" >/dev/null 2>&1 || fail "$what"
        sleep 0.3
    done
}

# `field KIND NAME JSONPATH`
field() { k get "$1" "$2" -o "jsonpath={$3}"; }
is() { [ "$(field "$1" "$2" "$3")" = "$4" ]; }

# For manifests: what the restricted standard asks of a pod and of a container.
yaml_pod_security() {
    echo 'securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}'
}
yaml_container_security() {
    echo 'securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}'
}

# A scenario that changes more than its namespace says with `restore` how that is undone.
restore() { :; }

finish() {
    local status=$?
    restore || true
    # A failed one stays, so that its logs can be kept; it is gone with the ground.
    [ $status != 0 ] || kubectl delete namespace "$namespace" --wait=false --ignore-not-found >/dev/null 2>&1 || true
    exit $status
}
trap finish EXIT
