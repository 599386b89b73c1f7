# Open descriptors of a process by kind (argument: pid). Ids and numbers are folded, so that leaks stand out.
while IFS= read -r line; do
  case $line in "Max open files"*) printf '%s\n' "$line" ;; esac
done <"/proc/$1/limits"
# Without root's rights nothing can be counted, and "0 in all" would be a lie.
if ! [ -r "/proc/$1/fd" ]; then
  echo "the descriptors of pid $1 cannot be read" >&2
  exit 1
fi
ls -ln "/proc/$1/fd" | sed -n -e '/ -> /!d' -e 's/^.* -> //' \
  -e 's/^\(socket\):.*/\1/' -e 's/^\(pipe\):.*/\1/' \
  -e 's/[0-9a-f]\{12,\}/ID/g' -e 's/[0-9][0-9]*/N/g' -e p | sort | uniq -c | sort -rn | {
  total=0
  kinds=0
  while read -r count kind; do
    total=$((total + count))
    kinds=$((kinds + 1))
    [ "$kinds" -gt 200 ] || printf '%8s %s\n' "$count" "$kind"
  done
  printf '%8s in all, %s kinds\n' "$total" "$kinds"
}
