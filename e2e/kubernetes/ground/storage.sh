# shellcheck shell=bash
# What the API server stores its objects in: three members of Quorate, or one of genuine etcd.

storage_endpoints=http://127.0.0.1:2379,http://127.0.0.1:12379,http://127.0.0.1:22379

start_storage() {
    case "$storage" in
        quorate) for member in 0 1 2; do start_storage_member $member; done ;;
        etcd)
            storage_endpoints=http://127.0.0.1:2379
            launch etcd "$genuine/etcd" --data-dir "$ground/storage/etcd" --log-level warn
            ;;
    esac
    until_true 60 "the API server's storage" storage_is_ready
}

start_storage_member() { # 0, 1, 2
    local at=http://127.0.0.1 client=$((2379 + 10000 * $1)) peer=$((2380 + 10000 * $1))
    launch "storage-$1" "$quorate" --name "s$1" --data-dir "$ground/storage/s$1" \
        --listen-client-urls "$at:$client" --advertise-client-urls "$at:$client" \
        --listen-peer-urls "$at:$peer" --initial-advertise-peer-urls "$at:$peer" \
        --initial-cluster "s0=$at:2380,s1=$at:12380,s2=$at:22380" --initial-cluster-state new
}

storage_is_ready() {
    local endpoint
    for endpoint in ${storage_endpoints//,/ }; do
        http_get "${endpoint#http://}" /health | grep -q true || return 1
    done
}

# `http_get HOST:PORT PATH`: nothing but bash is needed.
http_get() {
    exec 7<>"/dev/tcp/${1%:*}/${1#*:}" || return 1
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$2" "$1" >&7
    timeout 2 cat <&7
    exec 7>&-
}
