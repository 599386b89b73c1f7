# A function of the scripts that ask dockerd; stands before them. Needs PATH to be set.

# listens SOCKET [PID]: whether a dockerd (this one) listens there, and not systemd alone in its stead: a connection would start
# the dockerd that somebody has stopped, or is stopping. Also 0 where nobody is seen there, as a connection does nothing then.
listens() {
  at=
  while read -r i f; do
    [ "$f" = "$1" ] || [ "$f" -ef "$1" ] && at="$at${at:+|}$i"
  done <<TABLE
$(awk '$4 == "00010000" && substr($8, 1, 1) == "/" { print $7, $8 }' /proc/net/unix 2>/dev/null)
TABLE
  [ -n "$at" ] || return 0
  for f in ${2:-/proc/[0-9]*}; do
    f=/proc/${f#/proc/}
    if [ -z "$2" ]; then
      i=
      { read -r i <"$f/comm"; } 2>/dev/null
      case $i in docker*) ;; *) continue ;; esac
    fi
    # shellcheck disable=SC2010
    ls -l "$f/fd" 2>/dev/null | grep -Eq "socket:\[($at)\]\$" && return 0
  done
  return 1
}

