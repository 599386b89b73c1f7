# What must be known before dockerd's debug is switched on, as records "key value", one a line. Reads only.
# Values are single lines by construction, so that none can pose as another record. Whatever may hang is bounded.
# $1 pid of dockerd, $2 its unit, $3 configuration file, $4 to $6 the edit that switches debug on (bytes kept, bytes
# left out, what stands there instead; all empty: none), then "fd", "unix=PATH" and "plugin=NAME" as they apply.
LC_ALL=C; export LC_ALL
PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin:/snap/bin:/run/current-system/sw/bin"; export PATH
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION DOCKER_CONFIG
pid=$1 unit=$2 config=$3 at=$4 delete=$5 insert=$6
shift 6
case $pid in '' | *[!0-9]*) pid=0 ;; esac
echo 'plegcollect-preflight 1'
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
bounded() { # seconds command...
  limit=$1
  shift
  timeout -k 1 "$limit" "$@" 2>/dev/null </dev/null
}

say uid "$(id -u 2>/dev/null)"
for tool in timeout flock sha256sum stat ln mv cp rm mkdir head tail chmod chown cut cat dd awk sed grep tr readlink sleep; do
  command -v "$tool" >/dev/null 2>&1 || say missing "$tool"
done
command -v systemd-run >/dev/null 2>&1 || command -v setsid >/dev/null 2>&1 || say missing 'systemd-run or setsid'
if ! timeout -k 1 3 true 2>/dev/null; then
  # Nothing that may hang is called without it.
  say missing 'timeout with -k'
  echo 'end 1'
  exit 0
fi
takes() { # tool option: whether its help names the option
  bounded_help=$(timeout -k 1 3 "$1" --help 2>&1 </dev/null)
  case $bounded_help in *"$2"*) ;; *) say missing "$1 with $2" ;; esac
}
takes flock -w
takes mv -T
takes ln -T
takes chmod --reference
takes chown --reference
bounded 3 stat -c %d:%i / >/dev/null || say missing 'stat with -c'

# The process.
first uptime /proc/uptime
say now "$(date +%s 2>/dev/null)"
describe() {
  stat=
  while IFS= read -r line; do stat="$stat $line"; done 2>/dev/null <"/proc/$1/stat"
  # The name may hold blanks and parentheses: the numbers begin after the last ")".
  set -f
  set -- ${stat##*) }
  set +f
  say proc.state "$1"
  say proc.start "${20}"
}
if [ -r "/proc/$pid/stat" ]; then
  describe "$pid"
  first proc.comm "/proc/$pid/comm"
  exe=$(bounded 3 readlink "/proc/$pid/exe")
  say proc.exe "$exe"
  while read -r key value _; do
    case $key in Uid:) say proc.uid "$value"; break ;; esac
  done 2>/dev/null <"/proc/$pid/status"
  # Only whether it is set is told: an environment holds secrets.
  if environ=$(timeout -k 1 3 tr '\000' '\n' 2>/dev/null <"/proc/$pid/environ"); then
    case "$nl$environ" in *"${nl}DEBUG="[!"$nl"]*) say proc.debug 1 ;; *) say proc.debug 0 ;; esac
  fi
  environ=
fi

# Its unit, path units, the lock's guard.
properties() { # key unit property...: records "key NAME=VALUE", "-" between units
  record=$1 name=$2
  shift 2
  for property do
    shift
    set -- "$@" -p "$property"
  done
  if shown=$(timeout -k 1 5 systemctl --no-pager show "$@" -- "$name" 2>/dev/null </dev/null); then
    echo "$record -"
    printf '%s\n' "$shown" | head -n 400 | while IFS= read -r line; do
      case $line in '') echo "$record -" ;; *) printf '%s %.1024s\n' "$record" "$line" ;; esac
    done
    echo "$record ok"
  else
    echo "$record failed"
  fi
}
sockets=
if [ -n "$unit" ]; then
  properties unit "$unit" ActiveState SubState MainPID LogRateLimitIntervalUSec LogRateLimitBurst
  properties path '*.path' Id Paths PathExists PathExistsGlob PathChanged PathModified DirectoryNotEmpty ActiveState
  for name in $(timeout -k 1 5 systemctl --no-pager show -p TriggeredBy "$unit" 2>/dev/null </dev/null | head -n 1 | cut -d= -f2-); do
    case $name in *.socket) sockets="$sockets $name" ;; esac
  done
fi

# The configuration file.
directory=${config%/*}
[ -n "$directory" ] || directory=/
say dir.exists "$([ -d "$directory" ] && echo 1 || echo 0)"
say dir.writable "$([ -w "$directory" ] && echo 1 || echo 0)"
free() { # key path: KiB free
  say "$1" "$(bounded 5 df -Pk -- "$2" | { read -r _; read -r _ _ _ value _; echo "$value"; })"
}
free dir.free "$directory"
free run.free /run
attributes() { # key path
  say "$1" "$(bounded 3 lsattr -d -- "$2" | cut -d' ' -f1)"
}
attributes dir.attributes "$directory"
for name in "$config.plegcollect-orig" "$config.plegcollect-new"; do
  if [ -e "$name" ] || [ -L "$name" ]; then say leftover "${name##*.}"; fi
done
changed=0
if [ -e "$config" ] || [ -L "$config" ]; then
  say file.inode "$(bounded 3 stat -c %d:%i -- "$config")"
  say file.mtime "$(bounded 3 stat -c %y -- "$config")"
  say file.owner "$(bounded 3 stat -c %u:%g -- "$config")"
  say file.mode "$(bounded 3 stat -c %a -- "$config")"
  say file.label "$(bounded 3 stat -c %C -- "$config")"
  say file.kind "$(bounded 3 stat -c %F -- "$config")"
  say file.size "$(bounded 3 stat -L -c %s -- "$config")"
  [ ! -f "$config" ] || say file.sha256 "$(timeout -k 1 5 sha256sum 2>/dev/null <"$config" | cut -d' ' -f1)"
  if [ -L "$config" ]; then
    say file.target "$(bounded 3 readlink -f -- "$config")"
  else
    attributes file.attributes "$config"
  fi
  # Of link and target, the later one.
  changed=$(bounded 3 stat -c %Y -- "$config")
  followed=$(bounded 3 stat -L -c %Y -- "$config")
  [ "${followed:-0}" -le "${changed:-0}" ] 2>/dev/null || changed=$followed
  say file.changed "$changed"
fi
while read -r _ _ _ _ mount _; do
  [ "$mount" != "$config" ] || say file.mount 1
done 2>/dev/null <"/proc/$pid/mountinfo"
while read -r _ _ _ _ mount _; do
  [ "$mount" != "$config" ] || say file.mount 1
done 2>/dev/null </proc/self/mountinfo
if [ -d "/proc/$pid/root/" ]; then
  if [ "$(readlink "/proc/$pid/ns/mnt" 2>/dev/null)" = "$(readlink /proc/self/ns/mnt 2>/dev/null)" ]; then
    say namespace same
  else
    ours=$(bounded 3 stat -c %d:%i -- "$directory" "$config")
    theirs=$(bounded 3 stat -c %d:%i -- "/proc/$pid/root$directory" "/proc/$pid/root$config")
    if [ -n "$ours" ] && [ "$ours" = "$theirs" ]; then say namespace alike; else say namespace other; fi
  fi
fi

# Who else is at it.
run=/run/plegcollect
if [ -e "$run" ] || [ -L "$run" ]; then
  say lock 1
  if [ -f "$run/owner" ]; then
    count=0
    while IFS= read -r line; do
      count=$((count + 1))
      [ "$count" -le 20 ] || break
      printf 'lock.owner %.300s\n' "$line"
    done 2>/dev/null <"$run/owner"
  fi
  newest=0
  for file in "$run" "$run/owner" "$run/lease" "$run/state"; do
    time=$(bounded 3 stat -c %Y -- "$file")
    [ "${time:-0}" -le "$newest" ] 2>/dev/null || newest=$time
  done
  say lock.newest "$newest"
  # Shared, so that two that look at the same time do not take each other for the holder.
  if [ -f "$run/lock" ] && ! bounded 3 flock -s -n "$run/lock" true; then say lock.held 1; fi
  properties guard 'plegcollect-guard*' Id ActiveState
fi

# The API's socket: of all that listen, those of the process itself.
owned() { # path: whether the process, and nobody else, listens there; says what it sees
  there=0 own=0
  while read -r _ _ _ _ _ _ inode path; do
    case $path in /*) ;; *) continue ;; esac
    [ "$path" = "$1" ] || [ "$path" -ef "$1" ] || continue
    there=$((there + 1))
    case "$fds$nl" in *"socket:[$inode]$nl"*) own=$((own + 1)) ;; esac
  done <<LISTENING
$listening
LISTENING
  say socket.seen "$there $own $1"
  [ "$there" = 1 ] && [ "$own" = 1 ]
}
fds=$(bounded 5 ls -l "/proc/$pid/fd" | sed 's/.* -> //')
listening=$(bounded 5 grep ' 00010000 0001 01 ' "/proc/$pid/net/unix")
socket=
choose() {
  case $1 in /*) ;; *) return ;; esac
  [ -z "$socket" ] || return
  if owned "$1"; then socket=$1; say socket "$1"; fi
}
for arg do
  case $arg in
    fd)
      for name in $sockets; do
        # "Listen=/run/docker.sock (Stream)", before systemd 220 or so "ListenStream=/run/docker.sock".
        for word in $(timeout -k 1 5 systemctl --no-pager show -p Listen -p ListenStream -- "$name" 2>/dev/null </dev/null | head -n 20); do
          case $word in Listen*=/*) choose "${word#*=}" ;; esac
        done
      done
      choose /run/docker.sock
      choose /var/run/docker.sock
      ;;
    unix=*) choose "${arg#unix=}" ;;
  esac
done
fds='' listening=''

# The API. A daemon that does not answer is not asked again.
docker=$(command -v docker 2>/dev/null)
curl=$(command -v curl 2>/dev/null)
case $docker in /*) say docker "$docker" ;; *) docker= ;; esac
case $curl in /*) say curl "$curl" ;; *) curl= ;; esac
client=
answer() { # key command...: "key STATUS TEXT", line breaks as blanks
  key=$1
  shift
  text=$({ bounded 5 "$@"; echo ":$?"; } | head -c 300000 | tr '\n\r' '  ')
  text=${text% }
  status=${text##*:}
  case $status in
    '' | *[!0-9]*) status=999 text= ;; # cut off
    *) text=${text%:*} ;;
  esac
  printf '%s %s %s\n' "$key" "$status" "$text"
  return 0
}
if [ -n "$socket" ]; then
  if [ -n "$curl" ] && bounded 3 "$curl" --help all | grep -q -- --unix-socket; then
    unix=1
  elif [ -n "$curl" ] && bounded 3 "$curl" --help | grep -q -- --unix-socket; then
    unix=1
  else
    unix=
  fi
  if [ -n "$docker" ]; then client=docker; elif [ -n "$unix" ]; then client=curl; fi
  if [ -n "$unix" ]; then
    answer ping "$curl" -sS -m 5 --unix-socket "$socket" http://localhost/_ping
  elif [ -n "$docker" ]; then
    answer ping "$docker" -H "unix://$socket" version --format 'OK {{.Server.Version}}'
  fi
  info() {
    if [ "$client" = docker ]; then
      answer "$1" "$docker" -H "unix://$socket" info --format '{{json .}}'
    else
      answer "$1" "$curl" -sS -m 5 --unix-socket "$socket" http://localhost/info
    fi
  }
  if [ -n "$client" ] && [ "$status" = 0 ]; then
    info info.1
    # A client of docker 1.12 or older has no --format here.
    if [ "$client" = docker ] && [ -n "$unix" ] && [ "$status" != 0 ] && [ "$status" != 124 ] && [ "$status" != 137 ]; then
      client=curl
      info info.1
    fi
    [ "$status" != 0 ] || info info.2
  else
    status=1
  fi
  [ -z "$client" ] || say client "$client"
  if [ -n "$client" ] && [ "$status" = 0 ]; then
    since=$((changed))
    if [ "$since" -gt 0 ]; then
      now=$(date +%s)
      if [ "$client" = docker ]; then
        reload=$(bounded 5 "$docker" -H "unix://$socket" events --since "$since" --until "$now" --filter type=daemon \
          --filter event=reload --format '{{.Time}}' | tail -n 1)
      else
        reload=$(bounded 5 "$curl" -sS -m 5 --unix-socket "$socket" -G http://localhost/events -d "since=$since" \
          -d "until=$now" --data-urlencode 'filters={"type":["daemon"],"event":["reload"]}' | tail -n 1 |
          sed 's/.*"time":\([0-9]*\).*/\1/')
      fi
      say reload.event "$reload"
      # Only the time: the line carries the whole configuration.
      say reload.journal "$(timeout -k 1 5 journalctl -q --no-pager -r -o short-unix --since "@$since" "_PID=$pid" 2>/dev/null </dev/null |
        grep -m 1 'Reloaded configuration' | cut -d. -f1 | tail -c 20)"
    fi
    for arg do
      case $arg in
        plugin=*)
          if [ "$client" = docker ]; then
            bounded 5 "$docker" -H "unix://$socket" plugin ls --format '{{.Name}} {{.Enabled}}' | head -n 200 |
              while read -r name enabled _; do [ "$enabled" != true ] || say plugin.managed "$name"; done
          else
            bounded 5 "$curl" -sS -m 5 --unix-socket "$socket" http://localhost/plugins | head -c 300000 | tr '{}' '\n\n' |
              sed -n 's/.*"Enabled":true.*"Name":"\([^"]*\)".*/\1/p' | while read -r name; do say plugin.managed "$name"; done
          fi
          break
          ;;
      esac
    done
  fi
fi
for arg do
  case $arg in plugin=*) ;; *) continue ;; esac
  name=${arg#plugin=}
  for dir in /run/docker/plugins /var/run/docker/plugins; do
    for file in "$dir/$name.sock" "$dir/$name/$name.sock"; do
      # A socket without anybody behind it does not resolve.
      if [ -S "$file" ] && grep -qF " 00010000 0001 01 " /proc/net/unix 2>/dev/null; then
        while read -r _ _ _ flags _ _ _ path; do
          [ "$flags" = 00010000 ] && [ -n "$path" ] && [ "$path" -ef "$file" ] && say plugin.found "$name"
        done 2>/dev/null </proc/net/unix
      fi
    done
  done
  for dir in /etc/docker/plugins /usr/lib/docker/plugins; do
    for file in "$dir/$name.spec" "$dir/$name.json" "$dir/$name/$name.spec" "$dir/$name/$name.json"; do
      [ ! -f "$file" ] || say plugin.found "$name"
    done
  done
done

# The daemon's own opinion of the file that would be loaded, through a pipe; what it says may quote the file.
if [ -n "$at" ] && [ -x "${exe:-}" ]; then
  case ${exe##*/} in
    dockerd*)
      if bounded 5 "$exe" --help | grep -q -- --validate; then
        {
          [ ! -f "$config" ] || timeout -k 1 5 head -c "$at" "$config"
          printf %s "$insert"
          [ ! -f "$config" ] || timeout -k 1 5 tail -c +"$((at + delete + 1))" "$config"
        } 2>/dev/null | timeout -k 1 10 "$exe" --validate --config-file=/dev/stdin >/dev/null 2>&1
        say validate "$?"
      else
        say validate none
      fi
      ;;
  esac
fi

# The journal, and who reads it.
for file in /usr/lib/systemd/journald.conf.d/*.conf /etc/systemd/journald.conf /run/systemd/journald.conf.d/*.conf /etc/systemd/journald.conf.d/*.conf; do
  [ -r "$file" ] || continue
  while IFS= read -r line; do
    case $line in RateLimit*=* | SystemMaxUse=* | RuntimeMaxUse=* | Storage=*) printf 'journald %.200s\n' "$line" ;; esac
  done 2>/dev/null <"$file"
done
if [ -d /var/log/journal ]; then free journal.free /var/log/journal; elif [ -d /run/log/journal ]; then free journal.free /run/log/journal; fi
arguments() { # pid: its arguments as one line; reading them may hang
  timeout -k 1 2 head -c 4096 "/proc/$1/cmdline" 2>/dev/null | tr '\000\n' '  '
}
told='' looked=0
tell() { # key name, once
  case "$told " in *" $1=$2 "*) return ;; esac
  told="$told $1=$2"
  say "$1" "$2"
}
for dir in /proc/[0-9]*; do
  comm=
  read -r comm 2>/dev/null <"$dir/comm" || continue
  case $comm in
    fluentd | fluent-bit | flb-* | filebeat | promtail | vector | rsyslogd | syslog-ng | journalbeat | alloy | otelcol* | td-agent* | splunkd | datadog-agent | logstash | nxlog | loki | grafana-agent | elastic-agent | telegraf | amazon-cloudwat* | google_fluentd | stackdriver*)
      tell shipper "$comm" ;;
    systemd-journal | agent)
      program=$(readlink "$dir/exe" 2>/dev/null)
      case $program in
        */systemd-journal-upload) tell shipper systemd-journal-upload ;;
        */systemd-journal-gatewayd) tell shipper systemd-journal-gatewayd ;;
        *datadog*) tell shipper datadog-agent ;;
      esac
      ;;
    ruby* | java | python* | bundle)
      looked=$((looked + 1))
      [ "$looked" -le 20 ] || continue
      case $(arguments "${dir##*/}") in
        *fluentd*) tell shipper fluentd ;;
        *td-agent*) tell shipper td-agent ;;
        *logstash*) tell shipper logstash ;;
      esac
      ;;
    node-problem-de*) tell monitor node-problem-detector ;;
    monit) tell monitor monit ;;
    health-monitor*) tell monitor health-monitor.sh ;;
    docker-monitor* | kube-docker-mon*) tell monitor "$comm" ;;
  esac
done
echo 'end 1'
