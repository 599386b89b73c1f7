# Limits and vital counters of the daemons (arguments: name, pid, name, pid …; an empty pid is a daemon that does not run).
while [ "$#" -ge 2 ]; do
  printf '##### %s, pid %s\n' "$1" "${2:-none}"
  if [ -n "$2" ]; then
    for f in limits status oom_score_adj cgroup; do
      [ -r "/proc/$2/$f" ] || continue
      printf '==> %s <==\n' "/proc/$2/$f"
      cat "/proc/$2/$f"
    done
  fi
  shift 2
done
for f in /proc/sys/fs/file-nr /proc/sys/kernel/pid_max /proc/sys/kernel/threads-max /proc/sys/fs/inotify/max_user_instances /proc/sys/fs/inotify/max_user_watches; do
  [ -r "$f" ] || continue
  printf '==> %s <==\n' "$f"
  cat "$f"
done
