# The processes of the node, read without starting any.

# Sets $state $ppid $pgrp $session $start of process $1.
look() {
  l=
  { read -r l <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -f
  set -- ${l##*) }
  set +f
  state=$1 ppid=$2 pgrp=$3 session=$4
  [ $# -ge 20 ] || return 1
  shift 19
  start=$1
}

# Sets $all to pid:ppid:group:session:start of every process.
scan() {
  all=
  for d in /proc/[0-9]*; do
    look "${d#/proc/}" && all="$all ${d#/proc/}:$ppid:$pgrp:$session:$start"
  done
}

# Sets $kin to process $1 and all its descendants, going by $all.
family() {
  kin=" $1 "
  grew=1
  while [ -n "$grew" ]; do
    grew=
    for e in $all; do
      q=${e%%:*}
      r=${e#*:}
      case $kin in
        *" $q "*) ;;
        *" ${r%%:*} "*) kin="$kin$q " grew=1 ;;
      esac
    done
  done
}

# Sets $kin to process $1 and all its descendants. Nearly all kernels list children (the last line has
# no line break, so read fails, and yet reads); the others cost a look at every process of the node.
tree() {
  if [ ! -e "/proc/$$/task/$$/children" ]; then
    scan
    family "$1"
    return
  fi
  kin=" $1 " todo=$1
  while [ -n "$todo" ]; do
    q=${todo%% *}
    case $todo in
      *' '*) todo=${todo#* } ;;
      *) todo= ;;
    esac
    for t in "/proc/$q/task/"*/children; do
      r=
      { read -r r <"$t"; } 2>/dev/null
      for c in $r; do kin="$kin$c " todo="${todo:+$todo }$c"; done
    done
  done
}
