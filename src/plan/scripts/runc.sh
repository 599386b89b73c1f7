# Every runc or crun process: age, arguments, and each thread's state, wchan and kernel stack.
ticks=$(getconf CLK_TCK 2>/dev/null) || ticks=100
case $ticks in ''|*[!0-9]*) ticks=100 ;; esac
read -r up _ </proc/uptime
up=${up%%.*}
found=0
for dir in /proc/[0-9]*; do
  comm=
  read -r comm 2>/dev/null <"$dir/comm"
  case $comm in
    runc|runc:*|crun|crun:*|docker-runc*) ;;
    *) continue ;;
  esac
  found=$((found + 1))
  [ "$found" -le 200 ] || continue
  stat=
  while IFS= read -r line; do stat="$stat $line"; done 2>/dev/null <"$dir/stat"
  # The name may hold blanks and parentheses: the numbers begin after the last ")".
  set -f
  set -- ${stat##*) }
  set +f
  case ${20} in ''|*[!0-9]*) age=? ;; *) age=$((up - ${20} / ticks)) ;; esac
  printf '##### pid %s ppid %s age %s s name %s\n' "${dir##*/}" "$2" "$age" "$comm"
  for task in "$dir"/task/[0-9]*; do
    show_thread "$task" ""
  done
  printf 'arguments: '
  tr '\000\n' '  ' 2>/dev/null <"$dir/cmdline"
  echo
done
printf '%s runc or crun processes\n' "$found"
