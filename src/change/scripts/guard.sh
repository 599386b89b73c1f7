#!/bin/sh
# Guard on the node. Switches dockerd's debug on, keeps the original daemon.json on disk, and switches debug off when asked, when
# nobody gives a sign of life any more, and at the deadline. It may be killed anywhere: whatever starts it again on the same
# directory goes on from what lies there. Needs GNU coreutils and flock. The directory is that of this file.
#   env       what to do (see arm.sh); env.pid: the process that came after the one named there
#   state     NEW ON-PENDING ON ON-UNCONFIRMED OFF DONE DONE-restarted DONE-foreign-debug-true REFUSED
#   lease     /proc/uptime at the last sign of life; stop, bye: asked to end the window, to clear up
#   put       inode and sha256 of what we put in the place of daemon.json
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_API_VERSION DOCKER_CONFIG
umask 077
cd / || exit 1
D=${0%/*}
[ -r "$D/env" ] || exit 0
exec >>"$D/log" 2>&1 </dev/null

up() {
  now=0
  { read -r now _ </proc/uptime; } 2>/dev/null
  now=${now%%.*}
}

# Nothing we start may keep the lock when we are killed.
nap() {
  sleep "$1" 9>&- &
  wait "$!" # a signal is heeded at once
}
bounded() { timeout -k 1 "$@" 9>&-; }

say() {
  up
  printf '%s %s\n' "$now" "$*"
  # Not every node has one, and it decides nothing.
  bounded 2 logger -t plegcollect -- "$*" 2>/dev/null || :
}

# Written in place where there is no room for another file.
st() {
  S=$1
  { printf '%-32s\n' "$1" >"$D/state.n" && mv -f "$D/state.n" "$D/state"; } 2>/dev/null ||
    { printf '%-32s\n' "$1" 1<>"$D/state"; } 2>/dev/null || { say "state $1 could not be written"; return 1; }
  say "state $1"
}

exe() {
  e=$(readlink "/proc/$1/exe" 2>/dev/null)
  printf %s "${e% (deleted)}"
}

starts() {
  ticks=
  { read -r l <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086
  set -- ${l##*) }
  ticks=${20}
}

# The process that was checked, not a later one with its number.
same() {
  [ "$(exe "$PID")" = "$EXE" ] && starts "$PID" && [ "$ticks" = "$START" ]
}

# Without a version it is no answer: newer clients fill in "false" where dockerd gave an error (docker/cli info.go).
by_docker() {
  bounded 5 "$1" -H "unix://$SOCK" info --format '{{.ServerVersion}} {{.Debug}}' 2>/dev/null |
    sed -n 's/^[^ ][^ ]* \([a-z]*\)$/\1/p'
}
by_curl() {
  bounded 5 "$1" -s --max-time 5 --unix-socket "$SOCK" http://localhost/info 2>/dev/null |
    grep -o '"Debug":[a-z]*' | head -n 1 | cut -d: -f2
}

# What dockerd says of its debug, if it can be asked. A client that hangs must not keep debug on.
dbg() {
  listens "$SOCK" "${1:-$PID}" || return 1
  case $CLIENT in
  docker) by_docker "$CLI" | grep . || by_curl curl ;;
  curl) by_curl "$CLI" | grep . || by_docker docker ;;
  esac
}

there() { [ -e "$F" ] || [ -L "$F" ]; }
kept() { [ -e "$B" ] || [ -L "$B" ]; }
sha() { sha256sum <"$1" 2>/dev/null | cut -c1-64; }
ino() { stat -c %d:%i -- "$1" 2>/dev/null; }

# Whether daemon.json is the file put has put there. Both, as inode numbers are used again.
ours() {
  [ -f "$F" ] && [ ! -L "$F" ] || return 1
  { read -r i h <"$D/put"; } 2>/dev/null || return 1
  [ "$(ino "$F")" = "$i" ] && [ "$(sha "$F")" = "$h" ]
}

# Whether it is a copy of that, which somebody has made while it was there: none of theirs either.
copied() {
  [ -f "$F" ] && [ ! -L "$F" ] && { read -r _ h <"$D/put"; } 2>/dev/null && [ "$(sha "$F")" = "$h" ]
}

# put TEXT SHA256 WAS: TEXT in the place of daemon.json, which has the sha256 WAS (empty: there is none). The original stays
# beside it as a hard link; a link to nowhere stands for none.
put() {
  rm -f -- "$N"
  { dd if="$1" of="$N" bs=65536 conv=fsync 2>/dev/null && [ "$(sha "$N")" = "$2" ]; } || { say "cannot write $N"; return 1; }
  if [ -n "$3" ]; then
    { chown --reference="$F" -- "$N" && chmod --reference="$F" -- "$N"; } || return 1
    chcon --reference="$F" -- "$N" 2>/dev/null
  else chmod 644 -- "$N"; fi
  printf '%s %s\n' "$(ino "$N")" "$2" >"$D/put.n" && mv -f "$D/put.n" "$D/put" || return 1
  if [ -n "$3" ]; then
    ln -PT -- "$F" "$B" && [ "$(sha "$B")" = "$3" ] || return 1
    # shellcheck disable=SC3013
    [ "$F" -ef "$B" ] && mv -fT -- "$N" "$F"
  else
    ln -sT -- "$NONE" "$B" && ln -T -- "$N" "$F" && rm -f -- "$N"
  fi
}

# Undoes put, wherever that was interrupted; never over a file that somebody else has put there.
back() {
  rm -f -- "$N"
  if [ "$(readlink -- "$B" 2>/dev/null)" = "$NONE" ]; then
    if ours; then rm -f -- "$F" || return 1
    elif there; then say "somebody made $F meanwhile: it stays"; fi
    rm -f -- "$B" || return 1
  elif kept; then
    if [ "$(ino "$F")" = "$(ino "$B")" ]; then rm -f -- "$B" || return 1
    elif copied; then mv -fT -- "$B" "$F" || { say "cannot put $F back"; return 1; }
    elif [ -e "$F" ] && [ "$(sha "$F")" = "$(sha "$B")" ]; then rm -f -- "$B" || return 1
    else
      say "somebody replaced $F meanwhile: theirs stays, the former one is saved in $D/orig.saved"
      cp -a -- "$B" "$D/orig.saved" && rm -f -- "$B"
    fi
  elif ours && [ -r "$D/orig.json" ]; then
    say "somebody removed $B: $F is written anew from our copy"
    dd if="$D/orig.json" of="$N" bs=65536 conv=fsync 2>/dev/null && chown --reference="$F" -- "$N" &&
      chmod --reference="$F" -- "$N" && mv -fT -- "$N" "$F" || return 1
  fi
  rm -f "$D/put"
}

# What to load to switch off: what is on disk now, with debug false. 1: somebody wants it on. 2: no room.
offtext() {
  # Somebody may have removed our directory.
  { [ -d "$D" ] || mkdir -m 700 -- "$D"; } && { [ -e "$D/none.json" ] || printf '{"debug": false}\n' >"$D/none.json"; } || return 2
  was=
  text=$D/none.json
  there || return 0
  was=$(sha "$F")
  text=$D/off.json
  [ "$was" = "$SHA" ] && [ -e "$text" ] && return 0
  grep -Eq '"debug"[[:space:]]*:[[:space:]]*true' -- "$F" && return 1
  # Their text may not load, or name debug elsewhere: every other time the one that was checked.
  [ $((tries % 2)) = 1 ] && [ -e "$text" ] && return 0
  text=$D/off.now
  if grep -q '"debug"' -- "$F"; then cat -- "$F"
  elif [ -z "$(tr -d '{} \t\r\n' <"$F")" ]; then cat "$D/none.json"
  else awk '!d && (i = index($0, "{")) { $0 = substr($0, 1, i) "\"debug\": false," substr($0, i + 1); d = 1 } 1' "$F"
  fi >"$text" || return 2
}

# cycle TEXT WANTED WAS: 0 confirmed, 5 nothing done, 9 another process, else not confirmed.
cycle() {
  same || return 9
  put "$1" "$(sha "$1")" "$3" || { until back; do nap 2; done; return 5; }
  r=1
  if same && kill -HUP "$PID"; then
    up
    e=$((now + T1))
    while [ "$now" -le "$e" ]; do
      same || { r=9; break; }
      # Once it is gone, the next one may have answered.
      [ "$(dbg)" = "$2" ] && { same && r=0 || r=9; break; }
      nap 0.05
      up
    done
    # What went before may still be under way in dockerd, and this reload behind it.
    [ "$r:$4" = 0:force ] && nap 1
  else r=9; fi
  back || r=1
  return $r
}

# The process that has dockerd's place now: its pid, "gone", or nothing if that cannot be told.
present() {
  if [ -n "$UNIT" ]; then
    p=$(bounded 5 systemctl show -p ActiveState -p SubState -p MainPID -p Job -- "$UNIT" 2>/dev/null) || return 0
    case "
$p
" in *"
Job="[1-9]*) return 0 ;; esac
    a=$(printf '%s\n' "$p" | sed -n 's/^ActiveState=//p')
    b=$(printf '%s\n' "$p" | sed -n 's/^SubState=//p')
    m=$(printf '%s\n' "$p" | sed -n 's/^MainPID=//p')
    case $a/$b in
    inactive/* | failed/*) echo gone ;;
    active/running) [ "${m:-0}" -gt 0 ] && echo "$m" ;;
    esac
    return 0
  fi
  i=$(awk -v s="${SOCK#/var}" '{ p = $8; sub(/^\/var/, "", p) } p == s && $4 == "00010000" { print $7; exit }' /proc/net/unix)
  any=
  for p in /proc/[0-9]*; do
    p=${p#/proc/}
    [ "$(exe "$p")" = "$EXE" ] || continue
    any=1
    [ -n "$i" ] || continue
    for d in "/proc/$p/fd"/*; do
      [ "$(readlink "$d" 2>/dev/null)" = "socket:[$i]" ] && { echo "$p"; return 0; }
    done
  done
  [ -n "$any" ] || echo gone
}

# dockerd is another process. 0: it came up with the debug we had on disk, and is ours to switch off; 1: nothing to switch off.
# Nothing is sent before it has run for a while: SIGHUP kills a dockerd that is starting.
successor() {
  say "dockerd is no longer process $PID"
  k=1 seen=
  while :; do
    same && return 0
    p=$(present)
    case $p in
    '') seen= ;;
    gone)
      [ "$seen" = gone ] && { say "dockerd does not run"; st DONE-restarted; return 1; }
      seen=gone
      ;;
    *)
      starts "$p"
      up
      if [ "$seen" != "$p:$ticks" ]; then seen=$p:$ticks since=$now k=1
      elif [ $((now - since)) -ge 5 ]; then
        s=$(dbg "$p")
        case $s in
        false) st DONE-restarted; return 1 ;;
        true)
          foreign "$p" && { st DONE-foreign-debug-true; return 1; }
          say "process $p started with our debug: it is switched off"
          PID=$p START=$ticks
          printf "PID='%s'\nSTART='%s'\n" "$p" "$ticks" >"$D/env.n" && mv -f "$D/env.n" "$D/env.pid"
          return 0
          ;;
        esac
      fi
      ;;
    esac
    nap "$k"
    k=$((k < 16 ? k * 2 : 30))
    [ -n "$seen" ] && [ "$k" -gt 2 ] && k=2
  done
}

# Whether somebody else has given this process its debug, or it is not dockerd at all.
foreign() {
  [ "$(exe "$1")" = "$EXE" ] || { say "process $1 is $(exe "$1"), not $EXE: left alone"; return 0; }
  tr '\0' '\n' <"/proc/$1/cmdline" | grep -Eq '^(-D|--debug)(=|$)' && return 0
  tr '\0' '\n' <"/proc/$1/environ" | grep -Eq '^DEBUG=.' && return 0
  grep -Eq '"debug"[[:space:]]*:[[:space:]]*true' -- "$F" 2>/dev/null
}

# Does not return before debug is off, or is not ours to switch off. force: also if it looks off, as a reload that hangs may yet
# switch it on.
off() {
  w=1 tries=0 force=$1
  case $S in ON) st OFF ;; esac
  while :; do
    if ! back; then :
    elif ! same; then
      successor || return
      continue
    else
      s=$(dbg)
      [ "$s" = false ] && [ "$force" != force ] && { st DONE; return; }
      if [ "$s" = true ] || [ "$s" = false ]; then
        offtext
        case $? in
        1) st DONE-foreign-debug-true; return ;;
        0)
          cycle "$text" false "$was" "$force"
          case $? in
          0)
            [ "$force" = force ] || { st DONE; return; }
            nap 1
            force=
            continue
            ;;
          9) continue ;;
          esac
          tries=$((tries + 1))
          ;;
        esac
      fi
    fi
    say "off is not confirmed yet; next try in $w s"
    nap "$w"
    w=$((w < 16 ? w * 2 : 30))
  done
}

# Whether nobody has given a sign of life for so long.
silent() {
  up
  l=0
  { read -r l _ <"$D/lease"; } 2>/dev/null
  case $l in '' | *[!0-9]*) l=0 ;; esac
  [ $((now - l)) -gt "$LEASE" ]
}

ended() {
  if [ -e "$D/stop" ]; then say "asked to stop"
  elif silent; then say "no sign of life for $((now - l)) s"
  elif [ "$now" -ge "$DEADLINE" ]; then say deadline
  else return 1; fi
}

# Nothing of ours stays, unless somebody's text would be lost with it.
leave() {
  if [ -e "$D/orig.saved" ] || [ -L "$D/orig.saved" ]; then
    rm -f "$D/on.json" "$D/off.json" "$D/off.now" "$D/none.json" "$D/orig.json"
    say "$D stays: $D/orig.saved is what $F was before somebody replaced it"
    exit 0
  fi
  rm -rf -- "$D.gone"
  mv -T -- "$D" "$D.gone" && rm -rf -- "$D.gone"
  exit 0
}

linger() {
  while [ ! -e "$D/bye" ]; do
    silent && break
    nap 0.5
  done
  leave
}

# shellcheck disable=SC2317
term() {
  trap '' TERM INT HUP
  say "told to end"
  case $S in
  '' | NEW) st REFUSED ;;
  DONE* | REFUSED) ;;
  *)
    back
    case $S in ON | OFF) off ;; *) off force ;; esac
    ;;
  esac
  leave
}

main() {
  exec 9>>"$D/lock"
  # One that was killed may have left a child for a moment.
  flock -w 15 9 || exit 75
  # Cleared away, or made anew, while we waited.
  [ "$(stat -Lc %d:%i "/proc/$$/fd/9")" = "$(ino "$D/lock")" ] || exit 0
  # shellcheck disable=SC1091
  . "$D/env"
  # shellcheck disable=SC1091
  [ -r "$D/env.pid" ] && . "$D/env.pid"
  B=$F.plegcollect-orig N=$F.plegcollect-new NONE=plegcollect-none
  EXE=${EXE% (deleted)}
  S=
  { read -r S _ <"$D/state"; } 2>/dev/null
  trap term TERM INT HUP
  case $S in
  '' | NEW)
    was=
    [ "$HAVE" = 1 ] && was=$SHA
    if kept || [ -e "$N" ]; then
      say "$B or $N is left from an earlier run"
      st REFUSED
    elif { there && [ "$HAVE:$(sha "$F")" != "1:$SHA" ]; } || { ! there && [ "$HAVE" = 1 ]; }; then
      say "$F is not the file that was checked"
      st REFUSED
    elif ended || ! st ON-PENDING; then st REFUSED
    else
      cycle "$D/on.json" true "$was"
      case $? in
      0) st ON ;;
      5) st REFUSED ;;
      *)
        st ON-UNCONFIRMED
        off force
        ;;
      esac
    fi
    ;;
  DONE* | REFUSED) ;;
  ON | OFF) until back; do nap 2; done ;;
  *)
    back
    off force
    ;;
  esac
  case $S in
  ON)
    while ! ended; do
      same || break
      nap 0.5
    done
    off
    ;;
  OFF) off ;;
  esac
  linger
}

main
