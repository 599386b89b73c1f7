# What must be known before a daemon is asked for its stacks, as key=value: dockerd or containerd, pid, socket of
# dockerd's API, pid of dockerd. docker-api.sh and go-dumps.sh stand before. Reads only.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin
export LC_ALL PATH
subject=$1 pid=$2 socket=$3 parent=$4
say() { printf '%s=%.1024s\n' "$1" "$2"; }
look "$pid" || { say gone 1; exit 0; }
# A process in D is there for an instant as a rule.
for i in 1 2 3 4 5; do
  [ "$state" = D ] || break
  sleep 0.2 2>/dev/null || sleep 1
  look "$pid" || { say gone 1; exit 0; }
done
say state "$state"
say start "$began"
say exe "$(readlink "/proc/$pid/exe")"
say uid "$(stat -c %u "/proc/$pid")"
[ "/proc/$pid/ns/pid" -ef /proc/1/ns/pid ] && say host 1
command -v flock >/dev/null 2>&1 && say flock 1
say version "$(timeout 5 "/proc/$pid/exe" --version </dev/null 2>/dev/null | head -n 1)"
if [ "$subject" = dockerd ]; then
  dockerd_roots "$pid"
  dirs="$exec_root $data_root"
  lock=$exec_root
  ask=$socket
else
  containerd_dir "$pid"
  dirs=$dump_dir
  option "$pid" --state && sound "$value" || value=/run/containerd
  lock=$value
  ask=
  if [ -n "$parent" ]; then
    dockerd_roots "$parent"
    in_root "$parent" "$exec_root/containerd/containerd-debug.sock"
    [ "$ppid" = "$parent" ] && [ -S "$seen" ] && ask=$seen
  fi
  if [ -z "$ask" ]; then
    option "$pid" --config -c && sound "$value" || value=/etc/containerd/config.toml
    in_root "$pid" "$value"
    value=$(sed -n '/^[[:space:]]*\[debug\]/,/^[[:space:]]*\[[^d]/s/^[[:space:]]*address[[:space:]]*=[[:space:]]*"\([^"]*\)".*/\1/p' "$seen" 2>/dev/null | head -n 1)
    sound "$value" || value=/run/containerd/debug.sock
    in_root "$pid" "$value"
    [ -S "$seen" ] && ask=$seen
  fi
fi
dir=
for d in $dirs; do
  in_root "$pid" "$d"
  [ -d "$seen" ] || continue
  [ -n "$dir" ] || {
    dir=$d
    timeout 3 df -Pk "$seen" 2>/dev/null | tail -n 1 | {
      read -r _ _ _ free _
      say free-kib "$free"
    }
  }
  say dir "$d"
done
in_root "$pid" "$lock"
[ -d "$seen" ] || lock=$dir
say lock "$lock"
if [ "$subject" = containerd ] && [ -n "$dir" ]; then
  in_root "$pid" "$dir/containerd.$pid.stacks.log"
  if [ -L "$seen" ]; then say existing symlink
  elif [ ! -e "$seen" ]; then say existing none
  elif hold "$seen" 0; then
    say existing file
    exec 3<&-
  else say existing foreign
  fi
fi
if [ -n "$ask" ]; then
  head=$(api "$ask" '/debug/pprof/goroutine?debug=1' 5 | { IFS= read -r line; printf '%s' "$line"; cat >/dev/null; })
  count=${head##*goroutine profile: total }
  case $count in
    ''|*[!0-9]*)
      # Up to docker 17.06 the profiler is there in debug only.
      if [ "$subject" = dockerd ]; then
        count=$(api "$ask" /info 5 | head -c 262144 | tr ',{}' '\n\n\n' | sed -n 's/^"NGoroutines":\([0-9]*\)$/\1/p' | head -n 1)
      fi
      ;;
  esac
  case $count in *[!0-9]*) ;; *) say goroutines "$count" ;; esac
fi
for f in /proc/[0-9]*/comm; do
  name=
  { IFS= read -r name <"$f"; } 2>/dev/null
  case $name in
    health-monitor*|node-problem-d*|monit) say monitor "$name" ;;
  esac
done
say end 1
