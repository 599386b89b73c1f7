# Dumps of goroutines that were on the node before us: dockerd or containerd, pid. Newest first, left where they are.
# go-dumps.sh stands before.
pid=$2
most=10
look "$pid" || { echo "process $pid is gone." >&2; exit 1; }
uid=$(stat -c %u "/proc/$pid")
now=$(date +%s)
if [ "$1" = dockerd ]; then
  dockerd_roots "$pid"
  set -- "$exec_root/goroutine-stacks-*.log" "$data_root/goroutine-stacks-*.log" \
    "$exec_root/daemon-data-*.log" "$data_root/daemon-data-*.log"
else
  containerd_dir "$pid"
  set -- "$dump_dir/containerd.*.stacks.log" "/tmp/containerd.*.stacks.log"
fi
candidates() {
  for pattern do
    in_root "$pid" "${pattern%/*}"
    for file in "$seen"/${pattern##*/}; do
      [ ! -L "$file" ] && [ -f "$file" ] || continue
      case ${file##*/} in *[!A-Za-z0-9_.:+-]*) continue ;; esac
      printf '%s %s %s\n' "$(stat -c '%Y %s' "$file")" "$file" "${pattern%/*}/${file##*/}"
    done
  done
}
candidates "$@" | sort -rn | uniq | {
  n=0
  while read -r mtime size file name; do
    n=$((n + 1))
    if [ "$n" -gt "$most" ]; then
      echo "(more than $most: the older ones are left out)"
      break
    fi
    age=$((now - mtime))
    echo "==> $name <=="
    at=$(date -u -d "@$mtime" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null) || at="$mtime s after 1970"
    echo "(found on the node: $size bytes, modified $at, $age s before it was read; not made by this run)"
    if hold "$file" "$uid"; then
      cat <&3
      exec 3<&-
    else
      echo "(not a file of the daemon's own: not read)"
    fi
  done
  [ "$n" -gt 0 ] || echo "No dump was found in: $(printf '%s ' "$@")"
}
