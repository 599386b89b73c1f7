# Waits until a dump's script has ended, and tells what it left: daemon, this run in two halves (whole, it would stand
# in our own command line, by which that script is found), where receipts are, seconds.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin
export LC_ALL PATH
run=$2$3
receipt=$4/plegcollect.stacks-$run-$1
running() {
  for f in /proc/[0-9]*/cmdline; do
    grep -q -a -F -e "$run" "$f" 2>/dev/null && grep -q -a -F -e 'plegcollect.stacks' "$f" 2>/dev/null && return 0
  done
  return 1
}
n=0
while running && [ "$n" -lt "$5" ]; do
  n=$((n + 1))
  sleep 1
done
if [ -d "$receipt" ]; then echo "residue=$receipt"
elif running; then echo running=1
else echo clean=1
fi
