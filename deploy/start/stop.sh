#!/bin/sh
# Stops a daemon that start.sh started, and returns when it has ended.
#
#   stop.sh NAME [SECONDS]
#
# After SECONDS (90) it is killed: what was acknowledged is safe all the same, but what clients
# hold comes again.
set -eu

if [ $# -lt 1 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
name=$1 seconds=${2:-90}
pid_file=${NSQX_RUN:-/var/run/nsqx}/$name.pid

if [ ! -e "$pid_file" ]; then
    echo "$name was not started here: there is no $pid_file" >&2
    exit 1
fi
pid=$(cat "$pid_file")
kill -TERM "$pid" 2>/dev/null || true
tenths=$((seconds * 10))
while kill -0 "$pid" 2>/dev/null; do
    if [ "$tenths" -le 0 ]; then
        echo "$name did not end in $seconds s and is killed" >&2
        kill -KILL "$pid" 2>/dev/null || true
        tenths=50
    fi
    tenths=$((tenths - 1))
    sleep 0.1
done
rm -f "$pid_file"
