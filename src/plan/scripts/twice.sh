# Prints the files named by the arguments, waits a second, and prints them again: two readings of counters give rates.
for round in 1 2; do
  [ "$round" = 1 ] || sleep 1
  read -r up _ </proc/uptime
  printf '##### reading %s, %s s after boot\n' "$round" "$up"
  for f do
    [ -r "$f" ] || continue
    printf '==> %s <==\n' "$f"
    cat "$f"
  done
done
