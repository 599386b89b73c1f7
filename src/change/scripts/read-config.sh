# Prints a configuration file's bytes as they are, apart from everything else: they may hold secrets.
# $1 path, $2 most bytes. Exit status 0 printed, 3 not there, 4 too large, 5 not a regular file, 6 unreadable.
LC_ALL=C; export LC_ALL
PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin:/run/current-system/sw/bin"; export PATH
[ -e "$1" ] || [ -L "$1" ] || exit 3
[ -f "$1" ] || exit 5
size=$(timeout -k 1 5 stat -L -c %s "$1" 2>/dev/null) || exit 6
[ "$size" -le "$2" ] 2>/dev/null || exit 4
timeout -k 1 5 head -c "$2" "$1" 2>/dev/null || exit 6
