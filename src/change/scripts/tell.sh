# Tells the guard something, and says how it stands. Comes behind start.sh.
# $1 directory, $2 run id ("*": whoever's), $3 what (lease, stop, bye), $4 seconds to wait for what it leads to, $5 unit of the guard.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
D=$1 run=$2 what=$3 wait=$4 unit=$5 dead=0
mine() {
  r=$(sed -n 's/^run=//p' "$D/owner" 2>/dev/null)
  [ "$run" = "*" ] || [ "$r" = "$run" ]
}
sign() {
  read -r up _ </proc/uptime
  printf '%s\n' "${up%%.*}" >"$D/lease.$$" && mv -f "$D/lease.$$" "$D/lease"
}
gone() {
  echo "state GONE"
  exit 0
}
[ -d "$D" ] || gone
mine || gone
case $what in
stop | bye) : >"$D/$what" ;;
esac
[ "$what" = bye ] || sign
read -r t0 _ </proc/uptime
t0=${t0%%.*}
while :; do
  [ -d "$D" ] || gone
  S=
  { read -r S _ <"$D/state"; } 2>/dev/null
  case $what:$S in
  lease:NEW | lease:ON-PENDING | lease:) ;;
  lease:*) break ;;
  stop:DONE* | stop:REFUSED) break ;;
  stop:*)
    # Killed, and nobody starts it again: systemd would have by now.
    if guarded "$D"; then dead=0; else dead=$((dead + 1)); fi
    [ "$dead" = 30 ] && [ -r "$D/guard.sh" ] && start_guard "$D" "$unit"
    ;;
  bye:DONE* | bye:REFUSED)
    # The guard is gone and cannot do it itself.
    if [ -d "$D" ] && mine && ! guarded "$D" && [ ! -e "$D/orig.saved" ] && [ ! -L "$D/orig.saved" ]; then
      sleep 0.2
      guarded "$D" || { rm -rf -- "$D.gone" && mv -T -- "$D" "$D.gone" && rm -rf -- "$D.gone"; } 2>/dev/null
      continue
    fi
    ;;
  esac
  read -r t _ </proc/uptime
  [ $((${t%%.*} - t0)) -ge "$wait" ] && break
  sleep 0.1
done
echo "state ${S:-none}"
if guarded "$D"; then echo "guard alive"; else echo "guard dead"; fi
[ -e "$D/orig.saved" ] || [ -L "$D/orig.saved" ] && echo "saved $D/orig.saved"
[ "$what" = lease ] && [ "$S" = ON ] && exit 0
tail -n 60 "$D/log" 2>/dev/null | sed 's/^/log /'
exit 0
