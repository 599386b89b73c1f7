# What earlier runs left on this node. Changes nothing. Comes behind start.sh and listens.sh.
# $1 directory of the guard, $2 its unit, $3 configuration file of dockerd, $4 docker, curl or empty, $5 path of that, $6 socket,
# $7 directory of the receipts of stack dumps
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_API_VERSION DOCKER_CONFIG
D=$1 U=$2 F=$3 client=$4 cli=$5 sock=$6 base=$7
if [ -e "$D" ]; then
  echo "dir=$D"
  [ -r "$D/owner" ] && sed -n 's/^\(run\|who\|since\)=/owner-&/p' "$D/owner"
  s=
  { read -r s _ <"$D/state"; } 2>/dev/null
  echo "state=$s"
  [ -r "$D/env" ] && [ -r "$D/guard.sh" ] && echo "armed=1"
  c=$(sed -n 's/^config=//p' "$D/receipt" 2>/dev/null)
  [ -n "$c" ] && F=$c
  l=$(sed -n "s/^LEASE='\([0-9]*\)'/lease=\1/p" "$D/env" 2>/dev/null)
  [ -n "$l" ] && echo "$l"
  read -r up _ </proc/uptime
  a=
  { read -r a _ <"$D/lease"; } 2>/dev/null
  case $a in '' | *[!0-9]*) ;; *) echo "silent=$((${up%%.*} - a))" ;; esac
  echo "age=$(($(date +%s) - $(stat -c %Y -- "$D")))"
  guarded "$D" && echo "alive=1"
  if [ -e "$D/orig.saved" ] || [ -L "$D/orig.saved" ]; then echo "saved=$D/orig.saved"; fi
  tail -n 3 "$D/log" 2>/dev/null | sed 's/^/log=/'
fi
[ -e "$D.gone" ] && echo "gone=$D.gone"
if [ -n "$U" ] && [ -d /run/systemd/system ]; then
  u=$(timeout -k 1 5 systemctl show -p ActiveState -- "$U.service" 2>/dev/null)
  echo "unit=${u#ActiveState=}"
fi
echo "config=$F"
B=$F.plegcollect-orig N=$F.plegcollect-new
sha() { sha256sum <"$1" 2>/dev/null | cut -c1-64; }
if [ -e "$B" ] || [ -L "$B" ]; then
  echo "orig=$B"
  if [ "$(readlink -- "$B")" = plegcollect-none ]; then echo "orig-none=1"
  else
    [ "$(stat -c %d:%i -- "$F" 2>/dev/null)" = "$(stat -c %d:%i -- "$B")" ] && echo "orig-same=1"
    echo "orig-sha256=$(sha "$B")"
  fi
fi
if [ -e "$N" ] || [ -L "$N" ]; then echo "new=$N"; fi
[ -e "$F" ] && echo "sha256=$(sha "$F")"
for r in "$base"/plegcollect.stacks-*; do
  [ -d "$r" ] && [ ! -L "$r" ] || continue
  w=$(sed -n 's/^who=//p' "$r/receipt" 2>/dev/null)
  d=$(sed -n 's/^daemon=//p' "$r/receipt" 2>/dev/null)
  t=$(sed -n 's/^since=//p' "$r/receipt" 2>/dev/null)
  case $t in '' | *[!0-9]*) t=$(stat -c %Y -- "$r") ;; esac
  echo "stacks=$r $(($(date +%s) - t)) ${d:-?} ${w:-?}"
done
if [ -n "$client" ] && [ -S "$sock" ] && listens "$sock"; then
  case $client in
  docker)
    # Without a version it is no answer (see guard.sh).
    i=$(timeout -k 1 5 "$cli" -H "unix://$sock" info --format '{{.ServerVersion}} {{.Debug}}' 2>/dev/null |
      sed -n 's/^[^ ][^ ]* \([a-z]*\)$/\1/p')
    ;;
  *)
    i=$(timeout -k 1 5 "$cli" -s --max-time 5 --unix-socket "$sock" http://localhost/info 2>/dev/null |
      grep -o '"Debug":[a-z]*' | head -n 1 | cut -d: -f2)
    ;;
  esac
  echo "debug=$i"
fi
exit 0
