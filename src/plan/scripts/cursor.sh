# Where the logs of daemons end now. Arguments in threes: "unit", a key and a systemd unit, or "file", a key and a path.
# Prints: now SECONDS; cursor KEY CURSOR of the unit's last entry, or never KEY; file KEY INODE SIZE, or gone KEY.
LC_ALL=C; PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin:$PATH"; export LC_ALL PATH
printf 'now %s\n' "$(date +%s)"
while [ "$#" -ge 3 ]; do
  case $1 in
    unit)
      # The cursor of the unit's own last entry: after another's, --after-cursor with -u leaves a line out. It is the
      # first field of an entry; what follows is the program's own text.
      cursor=$(journalctl --no-pager -q -u "$3" -n 1 -o export 2>/dev/null | head -n 1)
      case $cursor in
        __CURSOR=?*) printf 'cursor %s %s\n' "$2" "${cursor#__CURSOR=}" ;;
        *) printf 'never %s\n' "$2" ;;
      esac
      ;;
    file)
      inode=$(ls -iL "$3" 2>/dev/null)
      inode=${inode#"${inode%%[! ]*}"}
      if [ -f "$3" ] && size=$(wc -c 2>/dev/null <"$3"); then
        printf 'file %s %s %s\n' "$2" "${inode%% *}" "$((size))"
      else
        printf 'gone %s\n' "$2"
      fi
      ;;
  esac
  shift 3
done
exit 0
