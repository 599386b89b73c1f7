# Prints state, wchan, system call and kernel stack of every thread of a process tree. The root of
# the tree comes as a line `pid N` on standard input, not as an argument: so a sudoers line can
# permit exactly this command. Any other line (a password that sudo did not want) is passed over.
# scan.sh stands before.
threads=0
lines=0
while IFS= read -r l && [ "$lines" -lt 8 ]; do
  lines=$((lines+1))
  root=${l#pid }
  [ "$root" != "$l" ] || continue
  case $root in ''|*[!0-9]*|???????????*) continue ;; esac
  tree "$root"
  for q in $kin; do
    look "$q" || continue
    comm=${l#*\(}
    printf 'process %s (%s) state %s parent %s\n' "$q" "${comm%)*}" "$state" "$ppid"
    for t in "/proc/$q/task/"[0-9]*; do
      threads=$((threads+1))
      if [ "$threads" -gt 50 ]; then
        printf 'more than 50 threads: the rest is left out\n'
        exit
      fi
      look "$q/task/${t##*/}" || continue
      comm=${l#*\(}
      wchan=- syscall=-
      { read -r wchan <"$t/wchan"; } 2>/dev/null
      { read -r syscall <"$t/syscall"; } 2>/dev/null
      printf '  thread %s (%s) state %s wchan %s syscall %s\n' "${t##*/}" "${comm%)*}" "$state" "${wchan:--}" "$syscall"
      { while IFS= read -r l; do printf '    %s\n' "$l"; done <"$t/stack"; } 2>/dev/null
    done
  done
done
