# A process list without ps: the stat line of every process, then owners, then arguments, which come last because
# reading them hangs on a process whose memory map is locked.
for dir in /proc/[0-9]*; do
  while IFS= read -r line; do printf '%s\n' "$line"; done 2>/dev/null <"$dir/stat"
done
echo '##### owners'
ls -ldn /proc/[0-9]* 2>/dev/null
echo '##### arguments'
if command -v grep >/dev/null 2>&1 && command -v tr >/dev/null 2>&1; then
  printf '%s\n' /proc/[0-9]*/cmdline | xargs grep -as . /dev/null | tr '\000' ' '
fi
exit 0
