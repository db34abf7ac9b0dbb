# shellcheck shell=bash
# Versions, folders and addresses that every script of the test cluster shares. Sourced, not run.
# shellcheck disable=SC2034  # used by the scripts that source this

KUBERNETES=v1.34.4
ETCD=v3.6.16
HELM=v4.3.1
HELM3=v3.22.0
COREDNS=v1.15.0
CERT_MANAGER=v1.21.2
PAUSE=3.10
CILIUM=v1.15.19

# Raise it when what `build` puts into the cache changes otherwise than by a version.
CACHE_FORMAT=1

CACHE=${WS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ws-operator}/cluster
CACHE_KEY=k8s-$KUBERNETES-etcd-$ETCD-helm-$HELM-$HELM3-coredns-$COREDNS-cert-manager-$CERT_MANAGER-cilium-$CILIUM-$CACHE_FORMAT
BIN=$CACHE/$CACHE_KEY/bin
IMAGES=$CACHE/$CACHE_KEY/images
CHARTS=$CACHE/$CACHE_KEY/charts
# What Cilium's agent compiles for each node, and the kinds that it keeps its state in.
CILIUM_FILES=$CACHE/$CACHE_KEY/cilium
UP=$CACHE/up

# Inside the cluster's own mount namespace /run is a fresh tmpfs, so this path is never shared.
STATE=/run/ws-cluster

# Addresses: unusual private ranges, because `up` routes them from the host.
NODE_NAME=ws-node
HOST_IP=10.212.0.1
NODE_IP=10.212.0.2
POD_CIDR=10.213.0.0/16
SERVICE_CIDR=10.214.0.0/16
API_IP=10.214.0.1
DNS_IP=10.214.0.10
HOST_LINK=ws-cluster

say() { printf 'cluster: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The header comment of a script is its --help.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# True while the process that wrote FILE ("pid starttime") is that same process, not a later
# one with its number.
recorded_process_lives() {
  local pid start
  [ -r "$1" ] && read -r pid start <"$1" || return 1
  [ "$start" = "$(start_time "$pid")" ] && ! grep -q ') Z' "/proc/$pid/stat"
}
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20 || true; }
children() { xargs -n1 <"/proc/$1/task/$1/children" 2>/dev/null; }

require_root() {
  if [ "$(id -u)" = 0 ]; then
    unshare --pid --fork --mount --net true 2>/dev/null && return
    say "root may not make namespaces here (a container without --privileged?)"
  fi
  say "needs root to start a cluster; or set KUBECONFIG to a disposable one and WS_CLUSTER=existing"
  exit 77
}

# Removes the cgroups of runs that were killed: the only thing that outlives one. Their names
# ("ws-cluster-PID-STARTTIME") say whose they are. With an argument, of that living run too.
remove_cgroups() {
  local top pid start
  for top in /sys/fs/cgroup/ws-cluster-* /sys/fs/cgroup/*/ws-cluster-*; do
    [ -d "$top" ] || continue
    IFS=- read -r _ _ pid start <<<"${top##*/}"
    [ "$pid" = "${1:-}" ] || [ "$start" != "$(start_time "$pid")" ] || continue
    find "$top" -depth -type d -exec rmdir {} \; 2>/dev/null || true
  done
}
