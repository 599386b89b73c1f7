# Goroutines of dockerd by its own profiler: socket, sample. The second is ungrouped while that is cheap.
# docker-api.sh stands before. pprof is there from 17.07 on, earlier only while debug is on (moby 17.09,
# api/server/router/debug).
socket=$1
most=20000
failed() {
  case $1 in
    4) echo "dockerd has no /debug/pprof: up to docker 17.06 it is there only while debug is on." ;;
    6) echo "none of curl, docker 18.09, socat, nc, python3 and perl is on the node to ask $socket." ;;
    *) echo "dockerd gave no profile on $socket." ;;
  esac >&2
  exit "$1"
}
if [ "$2" = 2 ]; then
  head=$(api "$socket" '/debug/pprof/goroutine?debug=1' 15 | { IFS= read -r line; printf '%s' "$line"; cat >/dev/null; })
  count=${head##*goroutine profile: total }
  case $count in
    ''|*[!0-9]*|?????????*) ;;
    *)
      if [ "$count" -le "$most" ]; then
        api "$socket" '/debug/pprof/goroutine?debug=2' 60
        s=$?
        [ "$s" = 0 ] || failed "$s"
        exit 0
      fi
      echo "$count goroutines, more than $most: grouped, because debug=2 would stop dockerd for about $((count * 9 / 100)) ms." >&2
      ;;
  esac
fi
api "$socket" '/debug/pprof/goroutine?debug=1' 15
s=$?
[ "$s" = 0 ] || failed "$s"
