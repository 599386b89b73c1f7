# What needs no bus comes first: systemctl hangs when PID 1 no longer answers on it.
echo '##### version'
systemctl --version
echo '##### PID 1'
ticks=$(getconf CLK_TCK 2>/dev/null) || ticks=100
read -r up _ </proc/uptime
printf 'clock ticks per second %s, seconds since boot %s\nstat: ' "${ticks:-100}" "$up"
cat /proc/1/stat
ps -o lstart= -p 1 2>/dev/null
echo '##### manager'
systemctl --no-pager show -p NRunning -p NJobs -p NFailedUnits -p NNames -p UserspaceTimestamp -p SystemState
echo '##### failed units'
systemctl --no-pager --failed
echo '##### jobs'
systemctl --no-pager list-jobs
