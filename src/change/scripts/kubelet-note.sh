# The note about a kubelet whose verbosity is raised: what to put back, should we die. Nothing of it is ever executed.
# $1 leave, look or clear; $2 directory; then
#   leave: $3 pid, $4 start and $5 boot id of the kubelet, $6 seconds until we expect to be done, $7 run id, $8... lines NAME=VALUE.
#     Exit: 0 it is there, 3 another one is there, 4 not possible, 5 the kubelet is another process.
#   look: $3-$5 as above, or empty for those of the note. Prints NAME=VALUE lines; changes nothing.
#   clear: $3 run id, or "*" for whoever's. Exit: 0 it is gone, 3 the one there is another run's, 4 not possible.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
what=$1 D=$2
shift 2
N=$D/note
say() {
  echo "$1"
  exit "$2"
}
of() { head -c 4096 -- "$N" 2>/dev/null | sed -n "s/^$1=//p" | head -n 1; }
# same PID START BOOT: whether that process is still there.
same() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  pid_=$1 start_=$2 boot_=$3 line=
  { read -r line <"/proc/$pid_/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086
  set -- ${line##*) }
  [ "${20}" = "$start_" ] && [ "$(cat /proc/sys/kernel/random/boot_id)" = "$boot_" ]
}
there() { [ -e "$D" ] || [ -L "$D" ]; }
# Why the directory is not one that we made, or nothing.
odd() {
  if [ -L "$D" ]; then
    echo "$D is a symbolic link"
    return
  fi
  if [ ! -d "$D" ]; then
    echo "$D is not a directory"
    return
  fi
  by=$(stat -c '%u %a' -- "$D")
  [ "${by% *}" = "$(id -u)" ] || echo "$D belongs to uid ${by% *}"
  [ "${by#* }" = 700 ] || echo "$D has the mode ${by#* }, not 700"
  if [ -L "$N" ]; then echo "$N is a symbolic link"; elif [ -e "$N" ] && [ ! -f "$N" ]; then echo "$N is not a file"; fi
}
refuse_odd() {
  why=$(odd | head -n 1)
  [ -z "$why" ] || say "$why" 4
}
uptime() {
  read -r up _ </proc/uptime
  echo "${up%%.*}"
}
look() {
  echo "up=$(uptime)"
  there || return 0
  echo "dir=$D"
  why=$(odd | head -n 1)
  if [ -n "$why" ]; then
    echo "odd=$why"
    return 0
  fi
  echo "age=$(($(date +%s) - $(stat -c %Y -- "$D")))"
  [ -f "$N" ] && head -c 4096 -- "$N" | sed 's/^/note-/'
}

case $what in
leave)
  pid=$1 start=$2 boot=$3 until=$(($(uptime) + $4)) T=$D/new-$5
  shift 5
  same "$pid" "$start" "$boot" || say "it is another process than the one that was looked at" 5
  mkdir -m 700 -- "$D" 2>/dev/null || there || say "$D cannot be made" 4
  refuse_odd
  trap 'rm -f -- "$T"; exit 143' TERM INT HUP
  # Whole and on disk before it has its name; a link is never put over another run's note.
  { printf '%s\n' "$@" && echo "until=$until"; } | dd of="$T" conv=fsync 2>/dev/null || {
    rm -f -- "$T"
    rmdir -- "$D" 2>/dev/null
    say "there is no room in $D" 4
  }
  ln -- "$T" "$N" 2>/dev/null
  status=$?
  rm -f -- "$T"
  [ "$status" = 0 ] || {
    look
    [ -e "$N" ] && exit 3
    say "$N cannot be made" 4
  }
  ;;
look)
  look
  if [ -n "$1" ]; then
    if same "$1" "$2" "$3"; then echo kubelet=same; else echo kubelet=other; fi
  elif [ -f "$N" ]; then
    if same "$(of pid)" "$(of start)" "$(of boot)"; then echo kubelet=same; else echo kubelet=other; fi
  fi
  ;;
clear)
  there || exit 0
  refuse_odd
  if [ "$1" = "*" ]; then
    rm -f -- "$N" "$D"/new-*
  else
    [ ! -e "$N" ] || [ "$(of run)" = "$1" ] || say "the note is of run $(of run) now" 3
    rm -f -- "$N" "$D/new-$1"
  fi
  rmdir -- "$D" 2>/dev/null
  [ ! -e "$N" ] || say "$N cannot be removed" 4
  # What else is in it then is the beginning of another run.
  [ "$1" = "*" ] && there && say "$D cannot be removed: it is not empty" 4
  ;;
esac
exit 0
