# Takes one dump of a daemon's goroutines: signal, wait, open the file, remove it, and only then print it. So nothing
# is on the node any more while it crosses the wire. docker-api.sh and go-dumps.sh stand before.
# Standard output: the dump alone. Standard error: key=value. Only KILL of this very process leaves the receipt, which
# tells what is to be undone: who, daemon, pid, start, dir, since; set-aside (ours, holds the file that was there).
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin
export LC_ALL PATH
umask 077
# daemon; identity; way (file, journal); unit of its journal or nothing; where it writes, first and second choice; its
# lock; socket to ping or nothing; this run; by whom; where receipts are; seconds to wait for another operator, and
# for the dump
daemon=$1 pid=$2 start=$3 exe=$4 way=$5 unit=$6 dir=$7 second=$8 lock=$9
shift 9
socket=$1 run=$2 who=$3 base=$4 queue=$5 patience=$6
receipt=$base/plegcollect.stacks-$run-$daemon
stage=none file= hidden= original= pinger= uid= least=1
exec 4>&1 1>&2
say() { printf '%s=%.1024s\n' "$1" "$2" 2>/dev/null; }
up() { # sets $now, hundredths of a second since boot
  { read -r now _ </proc/uptime; } 2>/dev/null
  now=${now%.*}${now#*.}
}
nap() { sleep "$1" 2>/dev/null || sleep 1; }
same() { look "$pid" && [ "$began" = "$start" ] && [ "$(readlink "/proc/$pid/exe")" = "$exe" ]; }
fresh() { # sets $file to the dump that was not there before; with an argument, also to one that is still empty
  [ -z "$file" ] || return 0
  if [ "$daemon" = containerd ]; then
    [ ! -s "$target" ] || file=$target
    return 0
  fi
  for at in 7 8; do
    if [ "$at" = 7 ]; then named=$first_root; else named=$second_root; fi
    [ -n "$named" ] || continue
    for f in "/proc/$$/fd/$at"/goroutine-stacks-*.log; do
      [ -s "$f" ] || { [ -n "${1-}" ] && [ -e "$f" ]; } || continue
      grep -Fqx -e "$named/${f##*/}" "$receipt/before" 2>/dev/null && continue
      file=$f
      return
    done
  done
}
logged() { # whether the daemon says that it is written; sets $told to the path it names
  told=
  [ -n "$cursor" ] || return 1
  told=$(timeout 5 journalctl -q --no-pager -a -o cat -u "$unit" --after-cursor="$cursor" 2>/dev/null |
    sed -n -e 's/.*goroutine stacks written to \([^" ]*\).*/\1/p' \
      -e 's/.*goroutine stack dump written to \([^" ]*\).*/\1/p' | tail -n 1)
  [ -n "$told" ]
}
size_of() { stat -c %s "$1" 2>/dev/null || echo 0; }
put_back() { # the file that was there before us
  [ -n "$hidden" ] || return 0
  if [ -n "$original" ]; then
    [ ! -e "$target" ] && [ ! -L "$target" ] && mv "$hidden/${target##*/}" "$target"
    [ "$(stat -c %i "$target" 2>/dev/null)" = "$original" ] || return 1
  fi
  rmdir "$hidden" && hidden=
}
retire() { # nothing of ours is left; the receipt goes last
  rm -f "$receipt/ping" "$receipt/done" "$receipt/before" "$receipt/receipt" && rmdir "$receipt" && stage=none
}
undo() {
  case $stage in
    receipt)
      [ -z "$made" ] || [ -s "$target" ] || rm -f "$target"
      put_back && retire
      ;;
    sent)
      # Whoever ends us waits five seconds before it kills.
      last=-1
      for i in 1 2 3 4 5 6; do
        # One that died may have got no further than the name.
        if same; then least=1; fresh; else least=0; fresh empty; fi
        if [ -n "$file" ]; then
          size=$(size_of "$file")
          [ "$size" = "$last" ] && break
          last=$size
        fi
        nap 0.5
      done
      if [ "$way" = journal ]; then retire
      elif [ -z "$file" ] && ! same; then
        # It has died, and will write nothing any more.
        { [ -z "$made" ] || rm -f "$target"; } && put_back && retire
      elif [ -n "$file" ] && [ "$last" -ge "$least" ] && rm -f "$file" && put_back; then retire
      else say residue "$receipt"
      fi
      ;;
    held) rm -f "$file" && put_back && retire ;;
  esac
  [ -z "$pinger" ] || kill "$pinger" 2>/dev/null
  if [ "$stage" = none ]; then say clean 1; else say residue "$receipt"; fi
}
end() {
  trap '' TERM INT HUP
  trap - EXIT
  undo
  exit "$1"
}
made= target=
trap '' PIPE
trap 'end 143' TERM HUP INT
trap 'end $?' EXIT
refuse() {
  say refused "$1"
  end 3
}

same || refuse gone
uid=$(stat -c %u "/proc/$pid")
# Held open: /proc/PID/root goes with the process, and what it left when it died must still be found.
first_root= second_root=
in_root "$pid" "$dir"
if [ -d "$seen" ] && command exec 7<"$seen"; then first_root=$seen; fi
[ "$way" = journal ] || [ -n "$first_root" ] || refuse directory
if [ -n "$second" ]; then
  in_root "$pid" "$second"
  if [ -d "$seen" ] && command exec 8<"$seen"; then second_root=$seen; fi
fi
target=
[ "$daemon" = containerd ] && target=/proc/$$/fd/7/containerd.$pid.stacks.log
if command -v flock >/dev/null 2>&1; then
  in_root "$pid" "$lock"
  # A lock on the directory itself leaves no file.
  if command exec 9<"$seen"; then
    n=0
    until flock -n 9; do
      n=$((n + 1))
      [ "$n" -le $((queue * 5)) ] || refuse busy
      nap 0.2
    done
  fi
fi
if [ "$daemon" = dockerd ]; then
  # The name of a dump has whole seconds: two within one second are one file (moby 20.10, pkg/signal/trap.go).
  in_root "$pid" "$dir"
  for i in 1 2 3 4 5 6; do
    [ $(($(date +%s) - $(stat -c %Y "$seen" 2>/dev/null || echo 0))) -lt 2 ] || break
    nap 0.5
  done
fi

mkdir "$receipt" 2>/dev/null || refuse receipt
stage=receipt
{
  printf '%s=%s\n' run "$run" who "$who" daemon "$daemon" pid "$pid" start "$start" exe "$exe" dir "$dir" second "$second" \
    since "$(date +%s)" way "$way" &&
    { [ -z "$target" ] || printf '%s=%s\n' set-aside "$dir/.plegcollect-$run"; }
} >"$receipt/receipt" || refuse receipt
for d in "$dir" "$second"; do
  [ "$daemon" = dockerd ] && [ -n "$d" ] || continue
  in_root "$pid" "$d"
  for f in "$seen"/goroutine-stacks-*.log; do
    [ ! -e "$f" ] || printf '%s\n' "$f"
  done
done >"$receipt/before" || refuse receipt
if [ "$way" = file ] && [ -n "$target" ]; then
  # In a directory of our own, so that nobody else who may write here can get between.
  mkdir "${target%/*}/.plegcollect-$run" || refuse aside
  hidden=${target%/*}/.plegcollect-$run
  if [ -e "$target" ] || [ -L "$target" ]; then
    hold "$target" "$uid" || refuse foreign
    exec 3<&-
    original=$(stat -c %i "$target")
    mv "$target" "$hidden/" || refuse aside
  fi
  # containerd follows a symlink that somebody plants here; an empty file of ours leaves no room for one.
  made=1
  (set -C; : >"$target") 2>/dev/null || { made=; refuse foreign; }
fi
cursor=
if [ -n "$unit" ]; then
  cursor=$(timeout 5 journalctl -q --no-pager -u "$unit" -n 1 -o cat --show-cursor 2>/dev/null |
    sed -n 's/^-- cursor: //p' | tail -n 1)
fi
[ "$way" = file ] || [ -n "$cursor" ] || refuse journal

# Found out now, so that the first ping begins with the dump.
[ -z "$socket" ] || client || socket=
same || refuse gone
case $state in D) nap 0.2; same || refuse gone ;; esac
case $state in [RSI]) ;; *) refuse "state $state" ;; esac
up
sent=$now
stage=sent
say signalled "$(date +%s.%N)"
# Identity and signal in one breath.
if same && kill -USR1 "$pid"; then :; else
  stage=receipt
  refuse gone
fi
if [ -n "$socket" ]; then
  (
    trap - EXIT TERM HUP INT
    worst=0 n=0
    while [ ! -e "$receipt/done" ] && [ "$n" -lt 200 ]; do
      up
      a=$now
      api "$socket" /_ping 20 >/dev/null || break
      up
      [ $((now - a)) -le "$worst" ] || worst=$((now - a))
      [ ! -d "$receipt" ] || echo "$worst" >"$receipt/ping"
      n=$((n + 1))
      nap 0.02
    done
  ) 9<&- 4>&- </dev/null >/dev/null 2>&1 &
  pinger=$!
fi

if [ "$way" = journal ]; then
  complete=
  while [ -z "$complete" ]; do
    up
    [ "$now" -le $((sent + patience * 100)) ] || break
    timeout 5 journalctl -q --no-pager -a -o cat -u "$unit" --after-cursor="$cursor" 2>/dev/null |
      grep -q -F -e '=== END goroutine stack dump ===' && complete=1
    [ -n "$complete" ] || nap 0.2
  done
  up
  say waited-cs "$((now - sent))"
  [ -n "$complete" ] || { say late 1; end 4; }
  retire
  say name "$daemon.journal"
  # A long line is stored in pieces; \n and \t stand for themselves in it.
  timeout 60 journalctl -q --no-pager -a -o cat -u "$unit" --after-cursor="$cursor" 2>/dev/null |
    sed -n '/=== BEGIN goroutine stack dump ===/,/=== END goroutine stack dump ===/p' |
    tr -d '\n' | sed 's/\(=== END goroutine stack dump ===\).*/\1/;s/\\n/\n/g;s/\\t/\t/g' >&4 && say streamed 1
  exit 0
fi

last=-1 since=0 looked=0 complete=
while :; do
  up
  fresh
  if [ -n "$file" ]; then
    size=$(size_of "$file")
    if [ "$size" != "$last" ]; then last=$size since=$now looked=0; fi
    if [ "$size" -gt 0 ]; then
      # Where there is no line (log level, another log), it is complete when it has stopped growing.
      settled=50
      [ -z "$cursor" ] || [ "$daemon" = dockerd ] || settled=200
      [ $((now - since)) -lt "$settled" ] || complete=still
      if [ -z "$complete" ] && [ $((now - looked)) -ge 20 ]; then
        looked=$now
        logged && complete=line
      fi
      [ -z "$complete" ] || break
    fi
  elif [ $((now - looked)) -ge 100 ] && [ "$now" -gt $((sent + 100)) ] && [ "$daemon" = dockerd ]; then
    looked=$now
    if logged && sound "$told"; then
      case ${told##*/} in
        goroutine-stacks-*.log)
          in_root "$pid" "$told"
          [ ! -s "$seen" ] || [ "$(stat -c %Y "$seen")" -lt "$(sed -n 's/^since=//p' "$receipt/receipt")" ] || file=$seen
          ;;
      esac
    fi
  fi
  same || { say died 1; break; }
  [ "$now" -le $((sent + patience * 100)) ] || break
  nap 0.05
done
up
say waited-cs "$((now - sent))"
if [ -z "$complete" ]; then
  [ -n "$file" ] || say late 1
  end 4
fi
hold "$file" "$uid" || { say refused foreign; end 3; }
stage=held
say written "$(stat -c %.9Y "$file" 2>/dev/null)"
say by "$complete"
say name "${file##*/}"
if [ -n "$pinger" ]; then
  : >"$receipt/done"
  n=0
  while kill -0 "$pinger" 2>/dev/null && [ "$n" -lt 100 ]; do
    n=$((n + 1))
    nap 0.05
  done
  kill "$pinger" 2>/dev/null
  pinger=
  { read -r worst <"$receipt/ping"; } 2>/dev/null && say ping-cs "$worst"
fi
size=$(stat -L -c %s /proc/self/fd/3)
say bytes "$size"
rm -f "$file"
if [ -e "$file" ] || ! put_back; then end 5; fi
retire || end 5
exec 9<&-
say clean 1
trap - EXIT
cat <&3 >&4 2>/dev/null && say streamed 1
exit 0
