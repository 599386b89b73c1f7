# Listens to the answers PID 1 gives on the bus while it is pinged. The Cookie= of an answer counts all messages PID 1
# has sent since it started; past 2^32, old versions fall silent. Only header lines are kept: bodies may hold secrets.
pause() { sleep 0.2 2>/dev/null || sleep 1; }
ping_once() {
  busctl call org.freedesktop.systemd1 / org.freedesktop.DBus.Peer Ping >/dev/null 2>&1 &
  ping=$!
  for try in 1 2 3 4 5; do
    pause
    if ! kill -0 "$ping" 2>/dev/null; then
      if wait "$ping"; then echo "# ping $1: answered"; else echo "# ping $1: refused"; fi
      return 0
    fi
  done
  kill "$ping" 2>/dev/null
  echo "# ping $1: not answered within about 1 s"
}
read -r up _ </proc/uptime
echo "# $up s after boot"
{
  busctl monitor --match="type='method_return',sender='org.freedesktop.systemd1'" 2>&1 &
  monitor=$!
  trap 'kill "$monitor" 2>/dev/null' EXIT
  pause; pause
  ping_once 1
  ping_once 2
  pause
} | sed -n -e '/^#/p' -e '/Cookie=/p' -e '/[Ff]ailed/p'
