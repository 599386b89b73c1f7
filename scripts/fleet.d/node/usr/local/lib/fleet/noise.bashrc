# What start-up files of real servers print, at its worst: both streams, escape sequences, no newline at the end.
echo 'Welcome to this server. Authorised use only.'
printf '\033[1;31mWARNING:\033[0m disk quota at 91%%\n'
echo 'nvm: version "N/A" is not yet installed' >&2
printf '{"not": "evidence"}\n'
echo 'mesg: ttyname failed: Inappropriate ioctl for device' >&2
printf 'last login: never, and no newline here->'
printf 'stderr too->' >&2
