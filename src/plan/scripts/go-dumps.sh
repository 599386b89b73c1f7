# Where daemons written in Go leave dumps of their goroutines, and how to open one. A library: functions only.
look() { # pid: sets $state, $ppid and $began (start in clock ticks)
  stat=
  { IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -f
  set -- ${stat##*) }
  set +f
  [ $# -ge 20 ] || return 1
  state=$1 ppid=$2
  shift 19
  began=$1
}
environment() { # pid name: prints the value
  tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | sed -n "s/^$2=//p" | head -n 1
}
sound() { # path: absolute, nothing odd in it, and not of a file system where to open a file does something
  case $1 in
    *[!A-Za-z0-9_.,+=@:/-]*|*/../*|*/..) return 1 ;;
    /dev/*|/proc/*|/sys/*) return 1 ;;
    /*) return 0 ;;
    *) return 1 ;;
  esac
}
in_root() { # pid path: sets $seen, the path by which we see it
  # An absolute symlink would lead into our own root.
  seen=$2
  case $seen in
    /var/run/*) [ -L "/proc/$1/root/var/run" ] && seen=${seen#/var} ;;
  esac
  seen=/proc/$1/root$seen
}
option() { # pid name...: sets $value to the last value of these flags
  pid_=$1
  shift
  value=$(
    tr '\0' '\n' <"/proc/$pid_/cmdline" 2>/dev/null | {
      wanted= last=
      while IFS= read -r word || [ -n "$word" ]; do
        if [ -n "$wanted" ]; then last=$word wanted=; continue; fi
        for flag do
          case $word in
            "$flag") wanted=1 ;;
            "$flag="*) last=${word#*=} ;;
          esac
        done
      done
      printf '%s' "$last"
    }
  )
  [ -n "$value" ]
}
key() { # pid file name...: sets $value from a JSON file, one key to a line or not
  in_root "$1" "$2"
  file_=$seen
  shift 2
  value=
  [ -f "$file_" ] && [ -r "$file_" ] || return 1
  for name do
    value=$(tr '\n,{}' '    ' <"$file_" | head -c 262144 |
      sed -n "s/.*\"$name\"[[:space:]]*:[[:space:]]*\"\([^\"\\\\]*\)\".*/\1/p")
    [ -z "$value" ] || return 0
  done
  return 1
}
dockerd_roots() { # pid: sets $exec_root and $data_root
  option "$1" --config-file && sound "$value" || value=/etc/docker/daemon.json
  config_=$value
  option "$1" --exec-root || key "$1" "$config_" exec-root
  exec_root=$value
  sound "$exec_root" || exec_root=/var/run/docker
  option "$1" --data-root --graph -g || key "$1" "$config_" data-root graph
  data_root=$value
  sound "$data_root" || data_root=/var/lib/docker
}
containerd_dir() { # pid: sets $dump_dir
  dump_dir=$(environment "$1" TMPDIR)
  sound "$dump_dir" || dump_dir=/tmp
}
hold() { # path uid: opens it on descriptor 3 if it is a regular file of that user, with one name and no link on the way
  [ ! -L "$1" ] && [ -f "$1" ] || return 1
  command exec 3<"$1" || return 1
  named=$(stat -c '%d:%i %u %h %f' "$1")
  opened=$(stat -L -c '%d:%i %u %h %f' /proc/self/fd/3)
  case $opened in
    *" $2 1 8"???) [ "$named" = "$opened" ] && return 0 ;;
  esac
  exec 3<&-
  return 1
}
