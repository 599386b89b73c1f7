# What a unit logged since a mark. Arguments: unit, cursor of its last entry before (or empty), a time journalctl takes
# for --since, output format.
LC_ALL=C; PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin:$PATH"; export LC_ALL PATH
if [ -z "$2" ]; then
  exec journalctl --no-pager -q --utc --all -o "$4" -u "$1" "--since=$3"
fi
# --after-cursor skips the first entry it finds, whichever that is: right only while the one of the cursor is there.
first=$(journalctl --no-pager -q -u "$1" "--cursor=$2" -n 1 -o export 2>/dev/null | head -n 1)
if [ "$first" = "__CURSOR=$2" ]; then
  exec journalctl --no-pager -q --utc --all -o "$4" -u "$1" "--after-cursor=$2"
fi
exec journalctl --no-pager -q --utc --all -o "$4" -u "$1" "--cursor=$2"
