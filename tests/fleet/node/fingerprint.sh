# The state of a node that a run must leave as it was, one fact per line. Read by tests/fleet/fingerprint.rs, which feeds it
# to a shell inside the node on standard input: in a command line it would find itself among the processes.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# The directory's own mtime and every ctime are left out: a rename changes both, and nothing can put them back.
file() {
  if [ -e "$1" ] || [ -L "$1" ]; then
    stat -c "file %n: %F inode %d:%i links %h owner %u:%g mode %a size %s mtime %y" -- "$1"
    echo "file $1: sha256 $(sha256sum <"$1" | cut -c1-64)"
    getfattr --absolute-names -d -m - -- "$1" 2>/dev/null | sed -n "s|^[^#].*|file $1: xattr &|p"
    echo "file $1: flags $(lsattr -d -- "$1" 2>/dev/null | cut -d' ' -f1)"
    stat -c "file %n: label %C" -- "$1" 2>/dev/null
  else
    echo "file $1: none"
  fi
}
file /etc/docker/daemon.json
find /etc/docker -mindepth 1 ! -name daemon.json -printf 'in /etc/docker: %P %y inode %i mode %m size %s\n'
for dir in /run /run/docker /run/systemd/transient /run/systemd/system /tmp /var/tmp /root /dev/shm /var/lib; do
  [ ! -d "$dir" ] || find "$dir" -mindepth 1 -maxdepth 1 ! -name "session-*" -printf "in $dir: %f %y\n"
done

# The word is spelled so that no command of this script mentions it.
word=plegcollec'[t]'
{
  systemctl list-units --all --plain --no-legend --full
  systemctl list-unit-files --plain --no-legend --full
  systemctl list-timers --all --no-legend --full
} 2>/dev/null | sed -n "/$word/s/^/unit: /p"
for dir in /proc/[0-9]*; do
  line=$({ tr '\0\n' '  ' <"$dir/cmdline"; } 2>/dev/null) || continue
  group=$(grep -m 1 "$word" "$dir/cgroup" 2>/dev/null)
  case "$line" in *plegcollec[t]*) ;; *) [ -n "$group" ] || continue ;; esac
  echo "left over process: ${dir#/proc/} $(printf '%.200s' "$line") $group"
done

start() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
for unit in docker containerd kubelet; do
  pid=$(systemctl show -p MainPID "$unit.service")
  pid=${pid#MainPID=}
  echo "process $unit: pid $pid start $(start "$pid") $(systemctl show -p InvocationID "$unit.service")"
  echo "state $unit: $(systemctl is-active "$unit.service") $(sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1 | tr RD S)"
done
echo "node: start $(start 1)"

info=$(curl -s -m 5 --unix-socket /run/docker.sock http://docker/info)
if [ -n "$info" ]; then
  for key in Debug LiveRestoreEnabled DefaultRuntime LoggingDriver CgroupDriver; do
    echo "dockerd /info: $(printf '%s' "$info" | grep -oE "\"$key\":(\"[^\"]*\"|[a-z]+)" | head -n 1)"
  done
  for key in Labels Mirrors InsecureRegistryCIDRs; do
    echo "dockerd /info: $(printf '%s' "$info" | grep -oE "\"$key\":(\[[^]]*\]|null)" | head -n 1)"
  done
  echo "dockerd /info: $(printf '%s' "$info" | grep -oE '"Runtimes":\{.*\},"DefaultRuntime"')"
else
  echo "dockerd /info: no answer within 5 s"
fi
# A daemon at debug level logs every call.
since=$(date +%s.%6N)
containers=$(timeout 5 docker ps -a --no-trunc --format '{{.ID}} {{.State}}') || containers='docker ps did not answer'
journalctl --sync
lines=$(journalctl -q --no-pager -o cat -u docker.service --since "@$since" | grep -c 'level=debug')
echo "dockerd log: $lines debug lines after docker ps"
printf '%s\n' "$containers" | sed 's/^/container: /'
