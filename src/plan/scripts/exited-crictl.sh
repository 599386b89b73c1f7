# Last lines of control-plane containers that have exited (argument: CRI endpoint); 12 containers at most.
crictl --runtime-endpoint "$1" ps -a --no-trunc --state Exited --name 'kube-apiserver|etcd|kube-controller-manager|kube-scheduler'
crictl --runtime-endpoint "$1" ps -a -q --state Exited --name 'kube-apiserver|etcd|kube-controller-manager|kube-scheduler' | head -n 12 |
  while IFS= read -r id; do
    printf '##### %s\n' "$id"
    crictl --runtime-endpoint "$1" logs --tail 100 "$id" 2>&1
  done
