# shellcheck shell=bash
# A bridge with the control plane's address, and a cable to each node. Every address exists in these
# namespaces alone.

api_address=10.99.0.1

node_address() { echo "10.99.0.1$1"; }
node_pods() { echo "10.244.$1.0/24"; }

start_network() {
    ip link set lo up
    ip link add cluster0 type bridge
    ip address add $api_address/24 dev cluster0
    ip link set cluster0 up
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

# `cable N PID`: between the bridge and the network of the process.
cable() {
    ip link delete "node$1" 2>/dev/null || true
    ip link add "node$1" type veth peer name eth0 netns "$2"
    ip link set "node$1" master cluster0 up
    ip route replace "$(node_pods "$1")" via "$(node_address "$1")"
}
