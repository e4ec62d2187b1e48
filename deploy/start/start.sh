#!/bin/sh
# Starts one daemon without systemd, and returns when it listens.
#
#   start.sh NAME PROGRAM [OPTIONS...]
#   start.sh nsqd-1 nsqd --tcp-address=0.0.0.0:4150 --lookupd-tcp-address=directory:4160
#
# NSQX_RUN (/var/run/nsqx) gets NAME.pid and NAME.log; nsqd also gets a data path below NSQX_DATA
# (/var/lib/nsqx), NAME. NSQX_BIN is where the programs are, if not on the PATH.
set -eu

if [ $# -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
name=$1 program=$2
shift 2
run=${NSQX_RUN:-/var/run/nsqx}
data=${NSQX_DATA:-/var/lib/nsqx}
command=${NSQX_BIN:+$NSQX_BIN/}$program
pid_file=$run/$name.pid log=$run/$name.log

mkdir -p "$run"
if [ -e "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; then
    echo "$name runs already, as process $(cat "$pid_file")" >&2
    exit 1
fi
if [ "$program" = nsqd ]; then
    mkdir -p "$data/$name"
    set -- --data-path="$data/$name" "$@"
fi

# What was logged before stays: it may say why the daemon had to be started again.
before=$(wc -c 2>/dev/null <"$log" || echo 0)
# A session of its own: the end of this terminal or login is not the daemon's.
setsid "$command" "$@" </dev/null >>"$log" 2>&1 &
pid=$!
echo "$pid" >"$pid_file"

# By this start.
said() { tail -c +$((before + 1)) "$log"; }
listens() {
    said | grep -q 'HTTP: listening on' &&
        { [ "$program" = nsqadmin ] || said | grep -q 'TCP: listening on'; }
}

# A start after a crash takes as long as reading what is there.
until listens; do
    if ! kill -0 "$pid" 2>/dev/null; then
        said | tail -n 5 >&2
        rm -f "$pid_file"
        exit 1
    fi
    sleep 0.1
done
echo "$name runs as process $pid, log $log"
