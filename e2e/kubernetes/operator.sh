# shellcheck shell=bash
# What scenarios of the operator have in common, behind scenario.sh.

charts=$here/../../charts
operator_namespace=quorate-system
operator_image=${QUORATE_E2E_OPERATOR_IMAGE:-localhost/quorate-operator:e2e}

# The longest time between two acknowledged writes that is borne where leaders move in good order.
gap_ms_max=3000

# `helm_operator HELM RELEASE NAMESPACE ARGUMENT…`: the chart, with the images of this run. Definitions
# that another scenario has applied become the chart's.
helm_operator() {
    local helm=$1 release=$2 into=$3
    shift 3
    "$helm" upgrade --install "$release" "$charts/quorate-operator" --namespace "$into" \
        --create-namespace --wait --timeout 90s --take-ownership \
        --set image.repository="${operator_image%:*}" --set image.tag="${operator_image##*:}" \
        --set memberImage.repository="${node_image%:*}" --set memberImage.tag="${node_image##*:}" \
        "$@"
}

# One operator serves all scenarios.
need_operator() {
    kubectl get namespace $operator_namespace >/dev/null 2>&1 ||
        kubectl create namespace $operator_namespace
    kubectl label --overwrite namespace $operator_namespace \
        pod-security.kubernetes.io/enforce=restricted >/dev/null
    helm_operator helm4 quorate-operator $operator_namespace >/dev/null ||
        fail "the operator's chart cannot be installed"
}

# `apply_cluster NAME <<SPEC`: the lines of a specification.
apply_cluster() {
    k apply -f - <<CLUSTER
apiVersion: quorate.io/v1alpha1
kind: QuorateCluster
metadata: {name: $1}
spec:
$(sed 's/^/  /')
CLUSTER
}

condition() { field quoratecluster "$1" ".status.conditions[?(@.type==\"$2\")].status"; }
condition_is() { [ "$(condition "$1" "$2")" = "$3" ]; }
reason_is() { [ "$(field quoratecluster "$1" ".status.conditions[?(@.type==\"$2\")].reason")" = "$3" ]; }

# The status speaks of what is asked for now, every member is there, and nothing is under way.
is_settled() { # cluster, members
    [ "$(field quoratecluster "$1" .metadata.generation)" = "$(field quoratecluster "$1" .status.observedGeneration)" ] &&
        condition_is "$1" Available True && condition_is "$1" FullyReplicated True &&
        condition_is "$1" Progressing False &&
        is quoratecluster "$1" .status.readyReplicas "$2" && [ "$(voters "$1" | wc -l)" = "$2" ]
}
settled() { # cluster, members, seconds
    eventually "${3:-180}" "$1 has $2 members and is settled" is_settled "$1" "$2"
}

# By name, one a line, as the status says.
members() {
    k get quoratecluster "$1" -o jsonpath='{range .status.members[*]}{.name}{"\n"}{end}'
}
voters() {
    k get quoratecluster "$1" -o jsonpath='{range .status.members[*]}{.name} {.role}{"\n"}{end}' |
        sed -n 's/ \(Voter\|Leader\)$//p'
}
leader() { field quoratecluster "$1" .status.leader; }
followers() { voters "$1" | grep -vx "$(leader "$1")"; }

# `start_client CLUSTER`: a pod for `in_client COMMAND…` and `etcdctl_of CLUSTER …`.
start_client() {
    client_pod client "$1" '[sleep, "86400"]' 1
    k wait --for=condition=Ready pod/client --timeout=60s
}

client_pod() { # name, cluster, command, seconds to end
    k apply -f - <<POD
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  $(yaml_pod_security)
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: $4
  containers:
    - name: client
      image: $tools_image
      command: $3
      $(yaml_container_security)
      volumeMounts: [{name: connection, mountPath: /connection, readOnly: true}]
  volumes:
    - {name: connection, secret: {secretName: $2-connection}}
POD
}

in_client() { k exec client -- "$@"; }
etcdctl_of() { # cluster, arguments
    local cluster=$1
    shift
    in_client etcdctl --endpoints "https://$cluster-client.$namespace.svc:2379" \
        --cacert /connection/ca.crt --cert /connection/tls.crt --key /connection/tls.key "$@"
}

# `start_writer CLUSTER`: writes until `stop_writer`, which looks for each acknowledged write.
start_writer() {
    local url=https://$1-client.$namespace.svc:2379
    client_pod writer "$1" "[e2e, writer, --tls, /connection, \"$url\", \"$url\"]" 120
    eventually 60 "the writer writes" writer_writes
}
writer_writes() { k logs writer --tail=1 | grep -q 'acknowledged [1-9]'; }

# Sets `gap`, in milliseconds, and `acknowledged`, the number of writes.
stop_writer() {
    local result
    k exec writer -- kill -TERM 1
    k wait --for=jsonpath='{.status.phase}'=Succeeded pod/writer --timeout=120s ||
        fail "the writer: $(k logs writer --tail=3)"
    result=$(k logs writer --tail=1)
    gap=$(sed -n 's/.*longest_gap_ms \([0-9]*\).*/\1/p' <<<"$result")
    acknowledged=$(sed -n 's/.*acknowledged \([0-9]*\) .*/\1/p' <<<"$result")
    note "${result#result: }"
    k delete pod writer --wait=false
    [[ "$result" == *" lost 0 "* ]] || fail "acknowledged writes are lost: $result"
}
gap_is_short() { [ "$gap" -le $gap_ms_max ] || fail "no write was acknowledged for $gap ms"; }

# What the members say themselves, by genuine etcdctl: `id, status, name, peer, client, learner`.
member_list() { etcdctl_of "$1" member list; }

pod_uid() { field pod "$1" .metadata.uid; }
is_another_pod() { [ "$(pod_uid "$1")" != "$2" ]; }

# The node a member runs on, as a number.
node_of() {
    local node
    node=$(field pod "$1-0" .spec.nodeName)
    echo "${node#node}"
}
node_of_pod() {
    local node
    node=$(field pod "$1" .spec.nodeName)
    echo "${node#node}"
}
operator_node() {
    kubectl --namespace $operator_namespace get pods -l app.kubernetes.io/name=quorate-operator \
        -o 'jsonpath={.items[0].spec.nodeName}' | sed 's/^node//'
}
is_member() { members demo | grep -qx "$1"; }
