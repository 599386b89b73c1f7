# Repairs one thing that an earlier run left. Comes behind start.sh. Exit 0: done; else a line says why not.
# resume DIR UNIT            start the guard again on its directory
# stop DIR                   tell a guard that is at work to end the window
# clear DIR                  take away a directory whose guard is not at work
# reset UNIT                 forget a failed unit
# restore FILE SHA256 SHA256 FILE.plegcollect-orig over FILE, if they are these; drop FILE: only FILE.plegcollect-*
# stacks DIR                 undo a stack dump by its receipt
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
no() {
  echo "$1"
  exit 1
}
sha() { sha256sum <"$1" 2>/dev/null | cut -c1-64; }
ino() { stat -c %d:%i -- "$1" 2>/dev/null; }
what=$1 D=$2
B=$D.plegcollect-orig N=$D.plegcollect-new
case $what in
resume)
  guarded "$D" && exit 0
  start_guard "$D" "$3" || no "the guard could not be started again: $(head -n 1 "$D/start" 2>/dev/null)"
  ;;
stop)
  : >"$D/stop" || no "no room in $D"
  : >"$D/bye"
  ;;
clear)
  guarded "$D" && no "a guard is at work in $D"
  rm -rf -- "$D.gone"
  [ ! -e "$D" ] || { mv -T -- "$D" "$D.gone" && rm -rf -- "$D.gone"; } || no "$D cannot be removed"
  ;;
reset) timeout -k 1 5 systemctl reset-failed "$D.service" ;;
restore)
  [ "$(sha "$D")" = "$3" ] && [ "$(sha "$B")" = "$4" ] || no "$D or $B has changed this very moment"
  rm -f -- "$N"
  if [ "$(ino "$D")" = "$(ino "$B")" ]; then rm -f -- "$B"; else mv -fT -- "$B" "$D"; fi || no "$D cannot be put back"
  ;;
drop)
  rm -f -- "$N"
  if [ "$(readlink -- "$B")" = plegcollect-none ]; then
    # There was no file. Ours is removed, somebody else's stays.
    t=$(cat -- "$D" 2>/dev/null)
    case $t in '{"debug": true}' | '{"debug": false}' | '{"debug":true}' | '{"debug":false}') rm -f -- "$D" ;; esac
    rm -f -- "$B"
  elif [ -e "$B" ] && [ "$(ino "$D")" = "$(ino "$B")" ]; then rm -f -- "$B"; fi
  ;;
stacks)
  r=$D/receipt
  get() { sed -n "s/^$1=//p" "$r" 2>/dev/null | head -n 1; }
  pid=$(get pid) since=$(get since) aside=$(get set-aside)
  case $since in '' | *[!0-9]*) since= ;; esac
  root=/proc/$pid/root
  { read -r l <"/proc/$pid/stat"; } 2>/dev/null || l=
  # shellcheck disable=SC2086
  set -- ${l##*) }
  [ -n "$pid" ] && [ "${20}" = "$(get start)" ] || root=
  # Written by this dump: a plain file, not before it, not long after it.
  its() {
    [ -n "$since" ] && [ -f "$1" ] && [ ! -L "$1" ] || return 1
    m=$(stat -c %Y -- "$1") && [ "$m" -ge "$since" ] && [ "$m" -le $((since + 120)) ]
  }
  if [ "$(get daemon)" = dockerd ]; then
    for d in "$(get dir)" "$(get second)"; do
      case $d in /*) ;; *) continue ;; esac
      for f in "$root$d"/goroutine-stacks-*.log; do
        its "$f" || continue
        sed 's|.*/||' "$D/before" 2>/dev/null | grep -Fqx -e "${f##*/}" || rm -f -- "$f"
      done
    done
  elif [ -n "$aside" ] && [ -d "$root$aside" ] && [ ! -L "$root$aside" ]; then
    f=$root$(get dir)/containerd.$pid.stacks.log
    kept=$root$aside/${f##*/}
    # An empty file is the one that held the place.
    { its "$f" || { [ -f "$f" ] && [ ! -L "$f" ] && [ ! -s "$f" ]; }; } && rm -f -- "$f"
    if [ -e "$kept" ] && [ ! -e "$f" ] && [ ! -L "$f" ]; then mv -- "$kept" "$f"; fi
    rmdir -- "$root$aside" || no "$root$aside still holds a file: look at it"
  fi
  rm -f "$D/ping" "$D/done" "$D/before" "$r"
  rmdir -- "$D" || no "$D cannot be removed"
  ;;
*) no "$what?" ;;
esac
exit 0
