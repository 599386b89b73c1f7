# Functions of the scripts that start the guard; stands before them. Needs PATH to be set.

quoted() {
  printf "'"
  printf %s "$1" | sed "s/'/'\\\\''/g"
  printf "'"
}

# start_guard DIR UNIT: starts DIR/guard.sh outside of this session, such that it is started again when it is killed. Where
# the directory is gone by then, it finds nothing to do. UNIT is empty where systemd is not to be used. 124: no answer.
start_guard() {
  run="[ -r $1/guard.sh ] && exec /bin/sh $1/guard.sh; rm -rf -- $1.gone"
  if [ -n "$2" ] && [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    timeout -k 1 5 systemctl reset-failed "$2.service" 2>/dev/null
    # A former guard may be about to end. KillMode: only the guard itself is told to end, not what it just runs.
    # TimeoutStopSec: whoever stops the unit waits until debug is off, within reason.
    for _ in 1 2 3; do
      timeout -k 1 10 systemd-run --quiet --unit="$2" --collect -p Restart=on-failure -p RestartSec=1 \
        -p StartLimitIntervalSec=0 -p TimeoutStopSec=45 -p KillMode=mixed -p OOMScoreAdjust=-900 \
        --description="plegcollect: ends dockerd's debug window" /bin/sh -c "$run" 2>"$1/start" && return 0
      status=$?
      [ "$status" = 124 ] && return 124
      grep -q 'already exists' "$1/start" 2>/dev/null || break
      sleep 1
    done
    # Without what older systemd does not take. At most 5 starts in 10 s, hence the pause.
    timeout -k 1 10 systemd-run --quiet --unit="$2" -p Restart=on-failure -p RestartSec=3 /bin/sh -c "$run" \
      2>"$1/start" && return 0
    status=$?
    [ "$status" = 124 ] && return 124
  fi
  command -v setsid >/dev/null || return 1
  # Two, so that killing one of them does not matter.
  for _ in 1 2; do
    setsid /bin/sh -c "cd /; while [ -r $1/guard.sh ]; do /bin/sh $1/guard.sh && break; sleep 1; done; rm -rf -- $1.gone" \
      </dev/null >/dev/null 2>&1 &
  done
}

# Whether a guard holds the lock of DIR.
guarded() { [ -e "$1/lock" ] && ! flock -n "$1/lock" true; }
