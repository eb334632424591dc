# shellcheck shell=bash
# kube-apiserver, controller-manager and scheduler, each as a process of the namespace.

service_range=10.96.0.0/16
domain=cluster.local

control_plane_identities() {
    certificate apiserver /CN=kube-apiserver \
        "IP:127.0.0.1,IP:$api_address,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
    certificate apiserver-kubelet "/O=system:masters/CN=kube-apiserver-kubelet-client"
    certificate front-proxy /CN=front-proxy
    identity admin "/O=system:masters/CN=admin"
    identity controller-manager /CN=system:kube-controller-manager
    identity scheduler /CN=system:kube-scheduler
    identity kube-proxy /CN=system:kube-proxy
}

start_control_plane() {
    start_apiserver
    until_true 90 "the API server" kubectl get --raw /readyz
    launch controller-manager kube-controller-manager --kubeconfig="$ground/controller-manager.conf" \
        --authentication-kubeconfig="$ground/controller-manager.conf" \
        --authorization-kubeconfig="$ground/controller-manager.conf" \
        --use-service-account-credentials --bind-address=127.0.0.1 --leader-elect=false \
        --service-account-private-key-file="$ground/pki/accounts.key" \
        --root-ca-file="$ground/pki/ca.crt" --allocate-node-cidrs=false \
        --node-monitor-grace-period=20s
    launch scheduler kube-scheduler --kubeconfig="$ground/scheduler.conf" \
        --authentication-kubeconfig="$ground/scheduler.conf" \
        --authorization-kubeconfig="$ground/scheduler.conf" \
        --bind-address=127.0.0.1 --leader-elect=false
}

# Pods of a lost node are given up after 30 s, not 300: a run has other things to do meanwhile.
start_apiserver() {
    audit_policy
    local pki=$ground/pki
    launch apiserver kube-apiserver --etcd-servers="$storage_endpoints" \
        --bind-address="$api_address" --advertise-address="$api_address" --secure-port=6443 \
        --service-cluster-ip-range=$service_range --allow-privileged=true \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
        --client-ca-file="$pki/ca.crt" --authorization-mode=Node,RBAC \
        --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement \
        --default-not-ready-toleration-seconds=30 --default-unreachable-toleration-seconds=30 \
        --service-account-key-file="$pki/accounts.pub" \
        --service-account-signing-key-file="$pki/accounts.key" \
        --service-account-issuer=https://kubernetes.default.svc.$domain \
        --kubelet-client-certificate="$pki/apiserver-kubelet.crt" \
        --kubelet-client-key="$pki/apiserver-kubelet.key" \
        --kubelet-preferred-address-types=InternalIP \
        --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --requestheader-group-headers=X-Remote-Group \
        --requestheader-username-headers=X-Remote-User \
        --proxy-client-cert-file="$pki/front-proxy.crt" \
        --proxy-client-key-file="$pki/front-proxy.key" \
        --audit-policy-file="$ground/audit-policy.yaml" --audit-log-path="$ground/logs/audit.log"
}

# Each call of the operator is written down, so that its role can be compared with what it does: a
# watch when it begins, for it may not end before the run does.
audit_policy() {
    cat >"$ground/audit-policy.yaml" <<POLICY
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts:quorate-system"]}
  - {level: None}
POLICY
}

start_dns() {
    cat >"$ground/Corefile" <<CORE
$domain:53 in-addr.arpa:53 {
    bind $api_address
    errors
    kubernetes $domain in-addr.arpa {
        kubeconfig $ground/admin.conf
        pods insecure
        ttl 5
    }
    cache 2
    loadbalance
}
.:53 {
    bind $api_address
    template ANY ANY . {
        rcode NXDOMAIN
    }
}
CORE
    launch coredns coredns -conf "$ground/Corefile"
}
