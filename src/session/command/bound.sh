# What `timeout -k $grace $bound` does, for nodes that lack it: TERM to the process tree of the
# function run after $bound seconds, KILL after $grace more, exit status 124. Runs inside sudo,
# because only root can signal root's processes. scan.sh stands before.
exec 3<&0
run <&3 3<&- &
p=$!
exec 3<&-
alarm=0
trap 'alarm=$((alarm+1))' USR1
(
  trap 'kill "$!" 2>/dev/null; exit' TERM
  sleep "$bound" & wait "$!"
  kill -USR1 "$$"
  tree "$p"
  kill -TERM $kin
  sleep "$grace" & wait "$!"
  # Twice, for what was forked during the first pass.
  for i in 1 2; do
    tree "$p"
    kill -KILL $kin
  done
  sleep 1
  kill -USR1 "$$"
) </dev/null >/dev/null 2>&1 &
w=$!
while :; do
  # dash would tell of a signal in words.
  wait "$p" 2>/dev/null
  s=$?
  [ "$alarm" = 1 ] && [ -d "/proc/$p" ] || break
done
kill "$w" 2>/dev/null
[ "$alarm" = 0 ] || s=124
# Orphans in our group that are younger than we are: the command left them behind. Until none is
# found, for what was forked during a pass.
for pass in 1 2 3 4 5; do
  scan
  look "$$"
  us=$pgrp
  since=$start
  ours=' ' found=
  for e in $all; do
    case $e in *:*:"$us":*:*) ours="$ours${e%%:*} " ;; esac
  done
  for o in $all; do
    case $o in *:*:"$us":*:*) ;; *) continue ;; esac
    q=${o%%:*}
    [ "$q" != "$us" ] || continue
    r=${o#*:}
    case $ours in *" ${r%%:*} "*) continue ;; esac
    [ "${o##*:}" -ge "$since" ] || continue
    tree "$q"
    kill -KILL $kin 2>/dev/null
    found=1
  done
  [ -n "$found" ] || break
done
exit "$s"
