# Runs curl with the arguments; what is secret comes as one line of our input, escaped for printf, and goes to curl's input.
# Nothing of it may stand in arguments, environment or files: the printf of /usr/bin would show it in its arguments.
{ set +xva; } 2>/dev/null
unset line SSLKEYLOGFILE
command -v curl >/dev/null 2>&1 || exit 97
case $(LC_ALL=C type printf 2>/dev/null) in
*builtin*) ;;
*) exit 96 ;;
esac
IFS= read -r line || exit 95
printf '%b' "$line" | curl "$@"
