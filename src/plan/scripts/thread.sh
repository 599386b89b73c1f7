# Defines show_thread: one thread's state, wchan and kernel stack, read with built-ins alone, so that it works where
# nothing can be forked. It never reads cmdline or maps: on a process whose memory map is locked, that read hangs.
show_thread() {
  name=; state=; tgid=; ppid=
  [ -r "$1/status" ] || return 0
  while read -r key value rest; do
    case $key in
      Name:) name="$value${rest:+ $rest}" ;;
      State:) state=$value ;;
      Tgid:) tgid=$value ;;
      PPid:) ppid=$value; break ;;
    esac
  done 2>/dev/null <"$1/status"
  [ -n "$state" ] || return 0
  case $2 in *"$state"*) ;; *) [ -z "$2" ] || return 0 ;; esac
  wchan=
  [ ! -r "$1/wchan" ] || read -r wchan 2>/dev/null <"$1/wchan"
  printf 'tid %s pid %s ppid %s state %s wchan %s name %s\n' "${1##*/}" "$tgid" "$ppid" "$state" "${wchan:--}" "$name"
  [ "$state" != Z ] || return 0
  if [ -r "$1/stack" ]; then
    while IFS= read -r line; do printf '    %s\n' "$line"; done 2>/dev/null <"$1/stack"
  fi
  return 0
}
