# How dockerd and its configuration file are now. Changes nothing. Comes behind listens.sh.
# $1 file, $2 docker or curl, $3 path of that, $4 socket, $5 pid, $6 directory of the guard, $7 seconds to look back for events
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_API_VERSION DOCKER_CONFIG
F=$1 client=$2 cli=$3 sock=$4 pid=$5 dir=$6 back=$7
if [ -e "$F" ] || [ -L "$F" ]; then
  echo "sha256=$(sha256sum <"$F" 2>/dev/null | cut -c1-64)"
  stat -c 'inode=%d:%i
mtime=%y
owner=%u:%g
mode=%a' -- "$F"
  stat -Lc 'size=%s' -- "$F"
  l=$(stat -c %C -- "$F" 2>/dev/null)
  case $l in '' | '?' | '(null)') ;; *) echo "label=$l" ;; esac
else echo "file=none"; fi
for name in "$F.plegcollect-orig" "$F.plegcollect-new" "$dir.gone"; do
  if [ -e "$name" ] || [ -L "$name" ]; then echo "left=$name"; fi
done
if [ -e "$dir" ]; then echo "dir=$dir"; fi
if read -r l <"/proc/$pid/stat"; then
  # shellcheck disable=SC2086
  set -- ${l##*) }
  echo "start=${20}"
  echo "exe=$(readlink "/proc/$pid/exe")"
fi 2>/dev/null
ask() {
  listens "$sock" || return 1
  case $client in
  docker) timeout -k 1 5 "$cli" -H "unix://$sock" info --format '{{json .}}' ;;
  curl) timeout -k 1 5 "$cli" -s --max-time 5 --unix-socket "$sock" http://localhost/info ;;
  esac 2>/dev/null | tr -d '\n'
}
i=$(ask)
[ -n "$i" ] || i=$(ask)
printf 'info=%s\n' "$i"
now=$(date +%s)
e=$(
  listens "$sock" || exit 0
  case $client in
  docker)
    timeout -k 1 5 "$cli" -H "unix://$sock" events --since "$((now - back))" --until "$((now + 1))" --filter type=daemon \
      --filter event=reload --format '{{json .}}'
    ;;
  curl)
    timeout -k 1 5 "$cli" -s --max-time 5 -G --unix-socket "$sock" --data-urlencode "since=$((now - back))" \
      --data-urlencode "until=$((now + 1))" --data-urlencode 'filters={"type":["daemon"],"event":["reload"]}' \
      http://localhost/events
    ;;
  esac 2>/dev/null | sed -n 's/.*"debug":"\([a-z]*\)".*/\1/p' | tr '\n' ' '
)
echo "events=$e"
