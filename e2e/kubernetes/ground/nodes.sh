# shellcheck shell=bash
# Nodes: each a namespace with its own network, processes and mounts, so that one can be lost as a
# machine is lost, all at once.

node_count=3

# `start_node N`: returns when its process is there; the API server tells when it is ready.
start_node() {
    local n=$1 pid
    mkdir -p "$ground/nodes/$n"
    rm -f "$ground/nodes/$n/cable"
    launch "node-$n" unshare --mount --propagation slave --net --pid --fork --kill-child \
        --mount-proc "$here/ground/node" "$n"
    # The namespaces are those of the child; the cable goes to them.
    until_true 10 "node $n" node_process "$n"
    pid=$(node_process "$n")
    echo "$pid" >"$ground/run/node-$n.init"
    cable "$n" "$pid"
    touch "$ground/nodes/$n/cable"
}

node_process() {
    local parent child
    parent=$(cat "$ground/run/node-$1.pid")
    child=$(cat "/proc/$parent/task/$parent/children")
    child=${child%% *}
    [ -n "$child" ] && [ "$(readlink "/proc/$child/ns/net")" != "$(readlink /proc/self/ns/net)" ] &&
        echo "$child"
}

# `lose_node N`: power off. Its disk stays.
lose_node() {
    kill -9 "$(cat "$ground/run/node-$1.init")"
    ip link delete "node$1" 2>/dev/null || true
}

node_is_ready() {
    kubectl get node "node$1" \
        -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' | grep -qx True
}

start_nodes() {
    local n
    for n in $(seq $node_count); do
        certificate "kubelet-$n" "/O=system:nodes/CN=system:node:node$n" \
            "IP:$(node_address "$n"),DNS:node$n"
        kubeconfig "kubelet-$n"
        start_node "$n"
    done
    for n in $(seq $node_count); do until_true 90 "node $n to be ready" node_is_ready "$n"; done
}
