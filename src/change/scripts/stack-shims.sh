# Stacks of shims, by containerd's journal: pid of containerd, its unit. go-dumps.sh stands before.
# Standard output: what was logged. Standard error: key=value.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin
export LC_ALL PATH
containerd=$1 unit=$2
most=100
say() { printf '%s=%.1024s\n' "$1" "$2" >&2; }
refuse() { say refused "$1"; exit 3; }
program() { # pid: sets $exe to its executable if it is a shim of the host's, runc v2
  exe=$(readlink "/proc/$1/exe") || return 1
  case ${exe% (deleted)} in */containerd-shim-runc-v2) ;; *) return 1 ;; esac
  [ "$(readlink "/proc/$1/ns/pid")" = "$(readlink /proc/1/ns/pid)" ]
}
look "$containerd" || refuse silent
case $state in [RSI]) ;; *) refuse silent ;; esac
shims= count=0
for d in /proc/[0-9]*; do
  pid=${d#/proc/}
  program "$pid" && look "$pid" || continue
  case $state in [RSI]) ;; *) continue ;; esac
  count=$((count + 1))
  shims="$shims $pid:$began"
done
[ "$count" -gt 0 ] || refuse none
[ "$count" -le "$most" ] || refuse many
answers() {
  if command -v ctr >/dev/null 2>&1; then
    option "$containerd" --address -a && sound "$value" || value=/run/containerd/containerd.sock
    timeout 3 ctr --address "$value" version </dev/null >/dev/null 2>&1
  else
    # dockerd asks containerd for its version before it answers this.
    timeout 5 docker version </dev/null >/dev/null 2>&1
  fi
}
cursor=$(timeout 5 journalctl -q --no-pager -u "$unit" -n 1 -o cat --show-cursor 2>/dev/null |
  sed -n 's/^-- cursor: //p' | tail -n 1)
[ -n "$cursor" ] || refuse journal
entries() { timeout 30 journalctl -q --no-pager -a -o cat -u "$unit" --after-cursor="$cursor" 2>/dev/null; }
answers || refuse silent
sent=0
for shim in $shims; do
  pid=${shim%:*}
  # One that has stopped reading fills the FIFO of 64 KiB at once; so it is asked again and again.
  [ $((sent % 10)) -ne 9 ] || answers || break
  if program "$pid" && look "$pid" && [ "$began" = "${shim#*:}" ] && kill -USR1 "$pid"; then sent=$((sent + 1)); fi
done
say sent "$sent"
n=0 came=0
while [ "$n" -lt 20 ]; do
  came=$(entries | grep -c -F -e '=== END goroutine stack dump ===')
  [ "$came" -lt "$sent" ] || break
  n=$((n + 1))
  sleep 0.5 2>/dev/null || sleep 1
done
say came "$came"
entries
exit 0
