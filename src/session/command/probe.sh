# First thing on a node: clock, uid, the tools the wrapper builds on, and rights. `mode` (auto,
# passwordless, password, never) and `feed` (the password is the first line of our input) stand before.
for i in 1 2 3; do date +'clock %s.%N'; done
while read -r key _ value _; do
  [ "$key" = Uid: ] && uid=$value && printf 'uid %s\n' "$uid"
done </proc/self/status

# The system's own directories first: what is found is run as root, too.
tool() {
  old=$IFS
  IFS=:
  for dir in /usr/bin /bin /usr/sbin /sbin /usr/local/bin /usr/local/sbin $PATH; do
    case $dir in /*) ;; *) continue ;; esac
    if [ -f "$dir/$1" ] && [ -x "$dir/$1" ]; then
      IFS=$old
      tool=$dir/$1
      return 0
    fi
  done
  IFS=$old
  return 1
}
works() {
  if "$@" </dev/null >/dev/null 2>&1; then printf '%s %s\n' "${tool##*/}" "$tool"; fi
}

# Only a timeout that leads a process group of its own ends what a script has started; that of
# busybox signals a single process.
tool timeout && works "$tool" -k 1.5 5.5 /bin/sh -c 'read -r l </proc/$$/stat && set -- ${l##*) } && [ "$2" = "$3" ]'
tool nice && works "$tool" -n 10 /bin/sh -c :
tool ionice && works "$tool" -c 3 /bin/sh -c :
# By default zstd starts up to three threads more and takes four times the memory.
if tool zstd; then
  for options in '--single-thread --no-asyncio' --single-thread ''; do
    if "$tool" -1 -q -c $options </dev/null >/dev/null 2>&1; then
      printf 'zstd %s\nzstd-options %s\n' "$tool" "$options"
      break
    fi
  done
fi
tool gzip && works "$tool" -1 -c
[ "$uid" = 0 ] && exit
[ "$mode" = never ] && exit
unset password
[ -n "$feed" ] && IFS= read -r password
if ! tool sudo; then
  printf 'complaint sudo is not installed\n'
  exit
fi
printf 'sudo %s\n' "$tool"
said() {
  printf '%s\n' "$1" | while IFS= read -r line; do
    [ -n "$line" ] && printf 'complaint %s\n' "$line"
  done
}
if [ "$mode" != password ]; then
  complaint=$("$tool" -n -k -- true 2>&1 </dev/null) && printf 'rights passwordless\n' && exit
fi
if [ "$mode" != passwordless ] && [ -n "$feed" ]; then
  # -k: neither believe nor leave a time stamp. One line, so one attempt.
  complaint=$(printf '%s\n' "$password" | "$tool" -k -S -p '' -v 2>&1 >/dev/null) && printf 'rights password\n' && exit
  said "$complaint"
  exit
fi
# A sudoers file that lists single commands does not list `true`.
if [ "$mode" != password ] && "$tool" -n -k -l </dev/null >/dev/null 2>&1; then
  printf 'rights passwordless\n'
  exit
fi
said "$complaint"
