# shellcheck shell=bash
# What the selftest checks, one function each. Sourced by `selftest`, which sets `here`.
# shellcheck disable=SC2154,SC2317,SC2016  # called by name; what is in single quotes is for another shell

check() { # TITLE COMMAND...
  local start=$EPOCHREALTIME output
  output=$(mktemp)
  if "${@:2}" >"$output" 2>&1; then
    grep '^cluster: ok' "$output" | sed 's/^cluster: ok:/cluster:    ok:/' >&2 || true
    say "ok: $1 ($(((${EPOCHREALTIME/./} - ${start/./}) / 1000)) ms)"
    rm "$output"
  else
    cat "$output" >&2
    rm "$output"
    fail "FAILED: $1"
  fi
}

# answers HOST PORT
answers() {
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /passwd HTTP/1.0\r\n\r\n" >&3 && grep nobody <&3' "$@"
}
fails() { ! "$@"; }
contains() { "${@:2}" | grep -- "$1"; }
exit_code() { local code=0; "${@:2}" || code=$?; [ "$code" = "$1" ]; }
without_root() { setpriv --reuid 65534 --clear-groups bash "$here/run" -- true; }

forwards() {
  local code=0 forward
  kubectl -n web port-forward deployment/web 18080:8080 &
  forward=$!
  for _ in $(seq 50); do
    if answers 127.0.0.1 18080; then code=0 && break; else code=1 && sleep 0.1; fi
  done
  kill "$forward"
  return "$code"
}

calls_webhook() {
  local keys
  keys=$(mktemp -d)
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=webhook \
    -addext subjectAltName=DNS:webhook.default.svc -keyout "$keys/tls.key" -out "$keys/tls.crt"
  kubectl create secret generic webhook --from-file "$keys/tls.key" --from-file "$keys/tls.crt" \
    --from-file "$here/selftest.d/webhook.py"
  sed "s|@CA@|$(base64 -w0 "$keys/tls.crt")|" "$here/selftest.d/webhook.yaml" | kubectl apply -f -
  rm -r "$keys"
  kubectl wait --for=condition=Ready --timeout=60s pod/webhook
  # Endpoints reach kube-proxy a moment later.
  for _ in $(seq 50); do
    printf '{apiVersion: v1, kind: ConfigMap, metadata: {name: admitted, labels: {selftest: "yes"}}}' | kubectl create -f - && break
    sleep 0.1
  done
  contains yes kubectl get configmap admitted -o 'jsonpath={.metadata.labels.admitted}'
}

issues_certificate() {
  "$here/cert-manager" install
  kubectl apply -f "$here/selftest.d/certificate.yaml"
  kubectl wait --for=condition=Ready --timeout=60s certificate/selftest
  contains selftest kubectl get secret selftest -o 'jsonpath={.metadata.annotations}'
  "$here/cert-manager" remove
}
# A pod that a policy closes hears the node and no other pod.
enforces() {
  local address
  "$here/enforce"
  kubectl run closed --image=python:3.13-alpine -- python3 -m http.server 8000
  kubectl run asker --image=python:3.13-alpine -- python3 -c 'import signal; signal.pause()'
  kubectl wait --for=condition=Ready --timeout=60s pod/closed pod/asker
  address=$(kubectl get pod closed -o 'jsonpath={.status.podIP}')
  for _ in $(seq 50); do ! asks "$address" || break; sleep 0.1; done
  asks "$address"
  kubectl apply -f - <<'POLICY'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {run: closed}}, policyTypes: [Ingress]}
POLICY
  for _ in $(seq 20); do asks "$address" || break; sleep 0.1; done
  fails asks "$address"
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/8000"' "$address"
  kubectl delete --wait=false --now pod/closed pod/asker networkpolicy/closed
}
asks() { kubectl exec asker -- python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 8000), 2)' "$1"; }

installs() { # HELM
  "$1" install "trivial-$1" "$here/selftest.d/chart" --wait
  "$1" upgrade "trivial-$1" "$here/selftest.d/chart"
  contains 2 kubectl get configmap "trivial-$1" -o 'jsonpath={.data.revision}'
}

# What a run has on the machine: its processes, and mounts that escaped its namespace.
traces() { # PID OF THE RUN
  grep -lz "^WS_CGROUP=ws-cluster-$1-" /proc/[0-9]*/environ 2>/dev/null || true
  grep ws-cluster /proc/self/mounts || true
}
cgroups() { compgen -G "/sys/fs/cgroup/ws-cluster-$1-*" || compgen -G "/sys/fs/cgroup/*/ws-cluster-$1-*"; }
# start_run COMMAND...: leaves the run's pid in $run once COMMAND has begun.
start_run() {
  local begun
  begun=$(mktemp -u)
  BEGUN=$begun "$here/run" -- bash -c 'touch "$BEGUN"; exec "$@"' run "$@" &
  run=$!
  for _ in $(seq 600); do [ ! -e "$begun" ] || break; sleep 0.1; done
  rm "$begun"
}

two_runs() {
  start_run sleep infinity
  local other=$run
  "$here/run" -- kubectl get nodes
  kill "$other"
  exit_code 143 wait "$other"
}

terminated_run() {
  local cleaned
  cleaned=$(mktemp -u)
  start_run bash -c 'trap "touch $0; exit 5" TERM; sleep infinity & wait' "$cleaned"
  kill "$run"
  exit_code 5 wait "$run" && rm "$cleaned"
}

killed_run() {
  start_run sleep infinity
  [ "$(traces "$run" | wc -l)" -gt 8 ] || return 1
  kill -KILL "$run"
  wait "$run" || true
  for _ in $(seq 100); do
    [ -n "$(traces "$run")" ] || break
    sleep 0.1
  done
  [ -z "$(traces "$run")" ] && cgroups "$run" && "$here/run" -- kubectl get nodes && fails cgroups "$run"
}

runs_program() {
  "$here/load" "$("$here/image" echo:selftest --output "$STATE/echo.tar" /bin/echo)"
  kubectl run echo --image echo:selftest --image-pull-policy Never --restart Never -- hello
  kubectl wait --for=jsonpath='{.status.phase}'=Succeeded --timeout 30s pod/echo
  contains hello kubectl logs echo
}
