# What came into log files since a mark. Arguments: pattern for shared files, then in fours: path, inode and size at the
# mark ("-" if it was not there), and 1 if several programs log there.
LC_ALL=C; PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin:$PATH"; export LC_ALL PATH
inode() { # path: prints its inode
  listed=$(ls -iL "$1" 2>/dev/null)
  listed=${listed#"${listed%%[! ]*}"}
  printf '%s' "${listed%% *}"
}
since() { # path inode size
  [ "$2" != - ] || { cat "$1"; return; }
  if [ "$(inode "$1")" = "$2" ]; then
    # Shorter than it was: emptied in place by logrotate.
    if [ "$(wc -c <"$1")" -ge "$3" ]; then tail -c "+$(($3 + 1))" "$1"; else cat "$1"; fi
    return
  fi
  # Moved away by logrotate: its rest comes first.
  for old in "$1".1 "$1"-* "$1".*; do
    if [ -f "$old" ] && [ "$(inode "$old")" = "$2" ]; then
      tail -c "+$(($3 + 1))" "$old"
      break
    fi
  done
  [ ! -f "$1" ] || cat "$1"
}
pattern=$1
shift
found=1
while [ "$#" -ge 4 ]; do
  if [ -f "$1" ] && [ -r "$1" ] || [ "$2" != - ]; then
    found=0
    if [ "$4" = 1 ]; then
      printf '==> %s, lines that match %s <==\n' "$1" "$pattern"
      since "$1" "$2" "$3" | grep -aE -e "$pattern"
    else
      printf '==> %s <==\n' "$1"
      since "$1" "$2" "$3"
    fi
  fi
  shift 4
done
[ "$found" = 0 ] || { echo 'no log file was found' >&2; exit 3; }
exit 0
