# Shows the version of curl and the certificates the server at $1 (a URL) and $2 (host:port) shows. No credential takes part.
unset SSLKEYLOGFILE
command -v curl >/dev/null 2>&1 || exit 97
curl -q --version || exit
certs=$(curl -q -sS --globoff --insecure --noproxy '*' --connect-timeout 10 --max-time 10 -o /dev/null \
  -w '%{time_appconnect}\n%{certs}' "$1")
status=$?
case $certs in
*'-----BEGIN CERTIFICATE-----'*)
  printf '%s\n' "$certs"
  exit 0
  ;;
esac
# curl before 7.88 cannot show them. Without TLS there are none to show.
case $certs in
'' | 0.000*) [ "$status" = 0 ] || exit "$status" ;;
esac
command -v openssl >/dev/null 2>&1 || exit "$status"
openssl s_client -showcerts -connect "$2" </dev/null 2>/dev/null
exit "$status"
