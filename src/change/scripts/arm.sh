# Puts all that the guard needs on the node, and starts it. Comes behind start.sh.
# $1 directory, $2 systemd unit or empty, $3 text of the guard, $4-$7 edit on (at, delete, insert, sha256), $8-${11} edit off,
# then e:NAME=VALUE lines of env, o:… of owner, r:… of receipt. Exit: 0 started, 3 somebody else is there, 4 not possible.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
D=$1 U=$2 guard=$3
a1=$4 d1=$5 i1=$6 s1=$7 a0=$8 d0=$9
shift 9
i0=$1 s0=$2
shift 2

for tool in flock sha256sum stat timeout readlink dd awk; do
  command -v $tool >/dev/null || { echo "the node has no $tool"; exit 4; }
done
mkdir -m 700 -- "$D" 2>/dev/null || {
  [ -e "$D" ] && { sed -n 's/^/owner /p' "$D/owner" 2>/dev/null; exit 3; }
  echo "$D cannot be made"
  exit 4
}
# Nothing has been changed yet: half an outfit is taken away again. A guard that runs already clears up itself.
undo() {
  trap '' TERM INT HUP
  : >"$D/stop"
  : >"$D/bye"
  guarded "$D" || { rm -rf -- "$D.gone" && mv -T -- "$D" "$D.gone" && rm -rf -- "$D.gone"; }
}
fail() {
  echo "$1"
  undo
  exit 4
}
trap 'undo; exit 143' TERM INT HUP

F='' HAVE='' WINDOW=0 STATE=NEW
for pair; do
  name=${pair%%=*} value=${pair#*=}
  case $name in
  e:*) printf '%s=%s\n' "${name#e:}" "$(quoted "$value")" >>"$D/env" ;;
  o:*) printf '%s=%s\n' "${name#o:}" "$value" >>"$D/owner" ;;
  r:*) printf '%s=%s\n' "${name#r:}" "$value" >>"$D/receipt" ;;
  esac || fail "no room in $D"
  case $name in
  e:F) F=$value ;;
  e:HAVE) HAVE=$value ;;
  e:STATE) STATE=$value ;;
  e:WINDOW) WINDOW=$value ;;
  esac
done
up=0
read -r up _ </proc/uptime
up=${up%%.*}
# made AT DELETE INSERT SHA256: daemon.json with the one edit
made() {
  if [ "$HAVE" = 1 ]; then from=$D/orig.json; else from=/dev/null; fi
  { head -c "$1" "$from" && printf %s "$3" && tail -c +$(($1 + $2 + 1)) "$from"; } >"$D/text" || return 1
  [ "$(sha256sum <"$D/text" | cut -c1-64)" = "$4" ]
}
if [ "$HAVE" = 1 ]; then cp -pL -- "$F" "$D/orig.json" || fail "no room in $D, or $F cannot be read"; fi
# Debug that is on already is switched off with what is on disk then.
[ "$STATE" != NEW ] || { made "$a1" "$d1" "$i1" "$s1" && mv "$D/text" "$D/on.json"; } || fail "$F is not the file that was checked, or there is no room in $D"
[ "$STATE" != NEW ] || { made "$a0" "$d0" "$i0" "$s0" && mv "$D/text" "$D/off.json"; } || fail "$F is not the file that was checked, or there is no room in $D"
printf '{"debug": false}\n' >"$D/none.json" &&
  printf '%s\n' "$guard" >"$D/guard.sh" &&
  printf "DEADLINE='%s'\n" "$((up + WINDOW))" >>"$D/env" &&
  : >"$D/lock" &&
  printf '%s\n' "$up" >"$D/lease" &&
  printf '%-32s\n' "$STATE" >"$D/state" || fail "no room in $D"
start_guard "$D" "$U" || fail "the guard could not be started: $(head -n 1 "$D/start" 2>/dev/null)"
trap - TERM INT HUP
echo started
