# Runs one command under a bound and tells how it ended. Comes on standard input, so that `ps` on the
# node shows the command and not this. Before it stand, written by compose.rs: the variables na nb
# (halves of the nonce, which must not stand whole in anything that a tracing shell prints), feed (the
# next line of our input goes to the command), pack, group (the command runs under timeout(1), leader
# of a process group), timer and last (seconds to the first CONT and to the KILL of all, where no
# timeout(1) sends them), rest (seconds from the stacks to giving up; empty: no stacks); the functions
# run, packer, stacks, plain_stacks; and scan.sh.
{ set +xv; } 2>/dev/null
n=$na$nb
PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
cd /
printf '%s b\n' "$n"
printf '%s b %s\n' "$n" "$$" >&2

up() {
  up=0
  { read -r up _ </proc/uptime; } 2>/dev/null
}

# CONT to this shell in $1 seconds.
later() {
  (
    trap 'kill "$!" 2>/dev/null; exit' TERM
    sleep "$1" & wait "$!"
    kill -CONT "$me"
  ) </dev/null >/dev/null 2>&1 &
  timers="$timers $!"
}

# KILL to all of us: somebody is stuck in a write that nobody reads.
backstop() {
  (
    trap 'kill "$!" 2>/dev/null; exit' TERM
    sleep "$last" & wait "$!"
    look "$$" && [ "$pgrp" = "$$" ] && kill -KILL 0
    # Somebody else leads our group: only the tree, ourselves last.
    { read -r self _ </proc/self/stat; }
    tree "$$"
    for q in $kin; do [ "$q" = "$self" ] || kill -KILL "$q"; done
  ) </dev/null >/dev/null 2>&1 &
  watch=$!
}

# KILL to $kin. What is left over then is stuck in the kernel (or is not ours to kill), and nobody
# waits for it.
finish_off() {
  kill -KILL $kin 2>/dev/null
  sleep 0.3 2>/dev/null || sleep 1
  for q in $kin; do
    look "$q" && [ "$state" != Z ] && printf '%s d %s\n' "$n" "$q" >&2
  done
}

# What stayed in the group of timeout(1) when the command had ended. The session is compared so
# that a group that has got the same number meanwhile is not touched.
sweep() {
  kill -0 "-$p" 2>/dev/null || return
  scan
  kin=
  for e in $all; do
    case $e in *:*:"$p:$home":*) kin="$kin ${e%%:*}" ;; esac
  done
  [ -n "$kin" ] || return
  # The whole group at once: one by one, a fork could slip through.
  kill -KILL "-$p" 2>/dev/null
  finish_off
}

body() {
  alarm= timers= p=
  { read -r me _ </proc/self/stat; } 2>/dev/null
  look "$me" && home=$session
  trap 'alarm=1' CONT
  trap '[ -n "$p" ] && kill -TERM "$p" 2>/dev/null; kill $timers $watch 2>/dev/null; exit 143' TERM HUP
  up
  t0=$up
  if [ -n "$feed" ]; then
    printf '%s\n' "$line" | run &
    p=$!
  else
    run </dev/null &
    p=$!
  fi
  [ -n "$timer" ] && later "$timer"
  while :; do
    wait "$p" 2>/dev/null
    s=$?
    # Interrupted by the alarm: the command still runs, or nobody has waited for it yet.
    [ -n "$alarm" ] && [ -d "/proc/$p" ] || break
    alarm=
    if [ -n "$rest" ]; then
      # A privileged look may be refused: then what an ordinary one shows is better than nothing.
      for how in stacks plain_stacks; do
        if [ "$how" = stacks ] && [ -n "$feed" ]; then
          printf '%s\npid %s\n' "$line" "$p"
        else
          printf 'pid %s\n' "$p"
        fi | $how 2>/dev/null | {
          any=1
          while IFS= read -r l; do
            any=0
            printf '%s h %s\n' "$n" "$l" >&2
          done
          exit "$any"
        } && break
      done
      later "$rest"
      rest=
    else
      # timeout(1) has sent KILL, or was not allowed to, and the tree is still there.
      tree "$p"
      finish_off
      s=x
      break
    fi
  done
  up
  [ -n "$timers" ] && kill $timers 2>/dev/null
  [ -n "$group" ] && sweep
  printf '%s e %s %s %s\n' "$n" "$s" "$t0" "$up" >&2
}

# Were it exported already, the password would be, too.
unset line
[ -n "$feed" ] && IFS= read -r line
watch=
[ -n "$last" ] && backstop
if [ -n "$pack" ]; then
  body | packer
  printf '%s z %s\n' "$n" "$?" >&2
else
  body
fi
[ -n "$watch" ] && kill "$watch" 2>/dev/null
exit 0
