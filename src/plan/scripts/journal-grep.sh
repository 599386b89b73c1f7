# The newest 2000 journal lines of some units that match a pattern (arguments: pattern, since, units; empty ones are left out).
pattern=$1
since=$2
shift 2
units=$#
while [ "$units" -gt 0 ]; do
  [ -z "$1" ] || set -- "$@" -u "$1"
  shift
  units=$((units - 1))
done
[ "$#" -gt 0 ] || { echo 'no unit to read' >&2; exit 1; }
journalctl --no-pager --utc --all -o short-iso "$@" "--since=$since" | grep -aiE -e "$pattern" | tail -n 2000
exit 0
