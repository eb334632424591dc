# shellcheck shell=bash
# One authority for the control plane and its nodes, and a kubeconfig for each who asks the API server.

authority() {
    local pki=$ground/pki
    mkdir -p "$pki"
    openssl ecparam -genkey -name prime256v1 -noout -out "$pki/ca.key"
    openssl req -x509 -new -key "$pki/ca.key" -subj /CN=e2e -days 30 -out "$pki/ca.crt" \
        -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    openssl genrsa -out "$pki/accounts.key" 2048 2>/dev/null
    openssl rsa -in "$pki/accounts.key" -pubout -out "$pki/accounts.pub" 2>/dev/null
}

# `certificate NAME SUBJECT [ALTERNATIVE_NAMES]`: pki/NAME.crt and pki/NAME.key.
certificate() {
    local file=$ground/pki/$1
    openssl ecparam -genkey -name prime256v1 -noout -out "$file.key"
    openssl req -new -key "$file.key" -subj "$2" -out "$file.csr"
    openssl x509 -req -in "$file.csr" -CA "$ground/pki/ca.crt" -CAkey "$ground/pki/ca.key" \
        -set_serial "0x$(openssl rand -hex 8)" -days 30 -out "$file.crt" -extfile <(
            echo basicConstraints=CA:FALSE
            echo keyUsage=digitalSignature,keyEncipherment
            echo extendedKeyUsage=serverAuth,clientAuth
            [ -z "${3:-}" ] || echo "subjectAltName=$3"
        ) 2>/dev/null
}

# `kubeconfig NAME`: NAME.conf for whoever has pki/NAME.crt.
kubeconfig() {
    cat >"$ground/$1.conf" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://$api_address:6443", certificate-authority: $ground/pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $ground/pki/$1.crt, client-key: $ground/pki/$1.key}}]
contexts: [{name: e2e, context: {cluster: e2e, user: $1}}]
current-context: e2e
CONFIG
}

# `identity NAME SUBJECT [ALTERNATIVE_NAMES]`: a certificate and a kubeconfig.
identity() {
    certificate "$@"
    kubeconfig "$1"
}
