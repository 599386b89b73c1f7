# Lists those of the directories that are there; the others are named as not there.
for dir do
  if [ -d "$dir" ]; then
    printf '==> %s <==\n' "$dir"
    ls -laL "$dir"
  else
    printf '==> %s is not there\n' "$dir"
  fi
done
exit 0
