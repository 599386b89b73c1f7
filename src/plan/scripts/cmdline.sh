# One argument a line (argument: pid).
tr '\000' '\n' <"/proc/$1/cmdline"
