# Prints each file named by the arguments under a heading. Fails only if none could be read.
got=1
for f do
  printf '==> %s <==\n' "$f"
  if [ -r "$f" ]; then
    cat "$f" && got=0
  else
    echo "(not there, or not readable)"
  fi
  echo
done
exit "$got"
