# shellcheck shell=bash
# The control groups of the nodes' pods, in both hierarchies that Linux has.

cgroups=/sys/fs/cgroup

cgroup_of_node() { echo "/$cgroup/node$1"; }

make_cgroups() { # of all nodes
    local n controller folder
    if [ -e $cgroups/cgroup.controllers ]; then
        for folder in $cgroups "$cgroups/$cgroup"; do
            mkdir -p "$folder"
            tr ' ' '\n' <"$folder/cgroup.controllers" | while read -r controller; do
                echo "+$controller" >"$folder/cgroup.subtree_control" 2>/dev/null || true
            done
        done
        for n in "$@"; do mkdir -p "$cgroups$(cgroup_of_node "$n")"; done
        return
    fi
    for controller in "$cgroups"/*/; do
        controller=${controller%/}
        [ -e "$controller/cgroup.controllers" ] && continue
        for folder in "/$cgroup" $(for n in "$@"; do cgroup_of_node "$n"; done); do
            mkdir -p "$controller$folder"
            if [ "$(basename "$controller")" = cpuset ]; then
                cat "$controller/cpuset.cpus" >"$controller$folder/cpuset.cpus"
                cat "$controller/cpuset.mems" >"$controller$folder/cpuset.mems"
            fi
        done
    done
}

# Empty when their processes have ended, which takes the kernel a moment.
remove_cgroups() {
    local try
    for try in 1 2 3 4 5 6 7 8 9 10; do
        find $cgroups -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
        [ -n "$(find $cgroups -maxdepth 2 -type d -name "$cgroup" -print -quit)" ] || return 0
        sleep 0.3
    done
    echo "control groups named $cgroup are left after $try tries" >&2
}
