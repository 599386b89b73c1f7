# Log files of a node without a journal (arguments: pattern for shared files, then own log files).
# Of each, the end: 32 MiB are searched in shared files, 8 MiB kept of own ones.
pattern=$1
shift
found=1
for f do
  [ -f "$f" ] && [ -r "$f" ] || continue
  found=0
  printf '==> %s <==\n' "$f"
  tail -c 8388608 "$f"
done
for f in /var/log/messages /var/log/syslog /var/log/daemon.log; do
  [ -f "$f" ] && [ -r "$f" ] || continue
  found=0
  printf '==> %s, lines that match %s <==\n' "$f" "$pattern"
  tail -c 33554432 "$f" | grep -aE -e "$pattern"
done
[ "$found" = 0 ] || echo 'no log file was found' >&2
exit "$found"
