# The probe: what a node is and has, as records "key value", one a line. Arguments: tool names, and paths as "=/path".
# Values are single lines by construction (read by the shell's read, or with line breaks translated), so that no value
# can pose as another record. Nothing is written; what may hang (systemctl) comes last and is bounded.
LC_ALL=C; export LC_ALL
PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin:/var/lib/rancher/rke2/bin:/run/current-system/sw/bin:/run/wrappers/bin"
echo 'plegcollect-probe 1'
nl='
'
say() { # key value: the value's first line, cut at 4096 bytes
  printf '%s %.4096s\n' "$1" "${2%%"$nl"*}"
}
first() { # key file: the first line of a file
  value=
  [ -r "$2" ] && read -r value 2>/dev/null <"$2"
  [ -z "$value" ] || say "$1" "$value"
}
first hostname /proc/sys/kernel/hostname
first kernel /proc/sys/kernel/osrelease
first init /proc/1/comm
first boot-id /proc/sys/kernel/random/boot_id
first uptime /proc/uptime
# The zone of the daemons, not of this login.
say date "$(unset TZ; date '+%s %z' 2>/dev/null)"
for f in /etc/os-release /usr/lib/os-release; do
  [ -r "$f" ] || continue
  while IFS= read -r line; do
    case $line in PRETTY_NAME=*) say os "${line#PRETTY_NAME=}"; break ;; esac
  done 2>/dev/null <"$f"
  break
done
while read -r key value _; do
  case $key in
    MemTotal:) say mem-total "$value" ;;
    MemAvailable:) say mem-available "$value"; break ;;
    Active:) break ;;
  esac
done 2>/dev/null </proc/meminfo
while read -r key _ value _; do
  case $key in Uid:) say uid "$value"; break ;; esac
done 2>/dev/null </proc/$$/status
cpus=0
while read -r key _; do
  case $key in cpu[0-9]*) cpus=$((cpus + 1)) ;; cpu) ;; *) break ;; esac
done 2>/dev/null </proc/stat
say cpus "$cpus"
for arg do
  case $arg in
    =*)
      file=${arg#=}
      if [ -r "$file" ]; then printf 'file 1 %s\n' "$file"; else printf 'file 0 %s\n' "$file"; fi
      continue
      ;;
  esac
  IFS=:
  for dir in $PATH; do
    if [ -f "$dir/$arg" ] && [ -x "$dir/$arg" ]; then
      printf 'tool %s %s/%s\n' "$arg" "$dir" "$arg"
      [ "$dir/$arg" -ef /bin/busybox ] 2>/dev/null && printf 'busybox %s %s/%s\n' "$arg" "$dir" "$arg"
      break
    fi
  done
  unset IFS
done
for f in /var/log/journal/*/*.journal /run/log/journal/*/*.journal; do
  if [ -f "$f" ] && [ -r "$f" ]; then echo 'journal 1'; break; fi
done
say machine "$(uname -m 2>/dev/null)"
say ticks "$(getconf CLK_TCK 2>/dev/null)"
echo 'mark tools'

describe() { # pid: identity of one process
  case $1 in ''|*[!0-9]*|0) return ;; esac
  case " $described " in *" $1 "*) return ;; esac
  described="$described $1"
  [ -r "/proc/$1/stat" ] || return
  stat=
  while IFS= read -r line; do stat="$stat $line"; done 2>/dev/null <"/proc/$1/stat"
  # The name may hold blanks and parentheses: the numbers begin after the last ")".
  pid=$1
  set -f
  set -- ${stat##*) }
  set +f
  say "proc.$pid.ppid" "$2"
  say "proc.$pid.start" "${20}"
  while read -r key value _; do
    case $key in Uid:) say "proc.$pid.uid" "$value"; break ;; esac
  done 2>/dev/null <"/proc/$pid/status"
  first "proc.$pid.comm" "/proc/$pid/comm"
  exe=$(readlink "/proc/$pid/exe" 2>/dev/null)
  case $exe in ''|*"$nl"*) ;; *) say "proc.$pid.exe" "$exe" ;; esac
  while IFS= read -r line; do
    # Names the unit, without asking PID 1 for it.
    case $line in 0::/?*|*:name=systemd:/?*) say "proc.$pid.cgroup" "${line#*:*:}"; break ;; esac
  done 2>/dev/null <"/proc/$pid/cgroup"
}
arguments() { # reading them hangs on a process whose memory map is locked: last of all
  for pid in $described; do
    count=0
    tr '\n\000' '\001\n' 2>/dev/null <"/proc/$pid/cmdline" | while IFS= read -r line || [ -n "$line" ]; do
      count=$((count + 1))
      [ "$count" -le 256 ] || break
      printf 'proc.%s.arg %.4096s\n' "$pid" "$line"
    done
  done
}
parent() { # pid: sets ppid
  stat=
  while IFS= read -r line; do stat="$stat $line"; done 2>/dev/null <"/proc/$1/stat"
  ppid=${stat##*) ? }
  ppid=${ppid%% *}
}
described= shims=0 found= doubtful=
for dir in /proc/[0-9]*; do
  comm=
  read -r comm 2>/dev/null <"$dir/comm" || continue
  case $comm in
    containerd-shim*|conmon) shims=$((shims + 1)) ;;
    docker-containe)
      # The kernel cuts names at 15 bytes: the daemon and its shims look alike here.
      # A shim's parent is such a process too.
      parent "${dir##*/}"
      comm=
      read -r comm 2>/dev/null <"/proc/$ppid/comm"
      case $comm in docker-containe) shims=$((shims + 1)) ;; *) doubtful="$doubtful ${dir##*/}" ;; esac
      ;;
    dockerd|dockerd-current|dockerd-latest|docker-current|containerd|crio|kubelet|hyperkube) found="$found ${dir##*/}" ;;
  esac
done
say shims "$shims"
count=0
for pid in $found $doubtful; do
  # A daemon inside a container is not this node's daemon.
  if [ -e /proc/1/ns/pid ] && [ -e "/proc/$pid/ns/pid" ]; then
    [ "/proc/$pid/ns/pid" -ef /proc/1/ns/pid ] || continue
  fi
  count=$((count + 1))
  [ "$count" -le 64 ] || break
  describe "$pid"
done
echo 'mark processes'

units='docker.service docker-latest.service snap.docker.dockerd.service containerd.service crio.service kubelet.service k3s.service k3s-agent.service rke2-server.service rke2-agent.service k0scontroller.service k0sworker.service snap.microk8s.daemon-kubelite.service'
bounded() {
  # PID 1 may have stopped answering: three seconds are enough for one that answers.
  if timeout -k 1 3 true 2>/dev/null; then
    timeout -k 1 3 "$@"
  else
    "$@" &
    job=$!
    (
      sleep 3 &
      nap=$!
      trap 'kill "$nap"' TERM
      wait "$nap" && kill "$job"
    ) >/dev/null 2>&1 &
    watch=$!
    wait "$job"
    status=$?
    kill "$watch" 2>/dev/null
    return "$status"
  fi
}
show() {
  bounded systemctl --no-pager show -p Id -p Names -p LoadState -p ActiveState -p SubState -p MainPID -p InvocationID $units
}
asked=
if command -v systemctl >/dev/null 2>&1; then
  bounded systemctl --version 2>/dev/null | { read -r _ value _; say systemd "$value"; }
  if [ -d /run/systemd/system ]; then
    asked=1
    { show 2>/dev/null || echo 'show=failed'; } | {
      while IFS= read -r line; do
        case $line in
          show=failed)
            echo 'systemctl failed'
            for unit in $units; do
              for dir in /etc/systemd/system /run/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
                if [ -e "$dir/$unit" ]; then printf 'unit -\nunit Id=%s\nunit LoadState=loaded\n' "$unit"; break; fi
              done
            done
            ;;
          '') echo 'unit -' ;;
          *) printf 'unit %.1024s\n' "$line" ;;
        esac
        case $line in MainPID=*) describe "${line#MainPID=}" ;; esac
      done
      arguments
    }
  fi
fi
[ -n "$asked" ] || arguments
echo 'end 1'
