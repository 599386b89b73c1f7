# Every thread in uninterruptible sleep (D), with wchan and kernel stack; zombies (Z) with their parent.
# One pass of grep over the status files finds them; at most 400 are written out.
read -r load </proc/loadavg
read -r up _ </proc/uptime
printf 'load %s, %s s after boot\n' "$load" "$up"
shown=0
printf '%s\n' /proc/[0-9]*/task/[0-9]*/status | xargs grep -ls '^State:[[:space:]]*[DZ]' | {
  while IFS= read -r file; do
    shown=$((shown + 1))
    [ "$shown" -gt 400 ] || show_thread "${file%/status}" "D Z"
  done
  printf '%s threads in state D or Z\n' "$shown"
}
