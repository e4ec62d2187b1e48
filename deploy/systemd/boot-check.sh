# shellcheck shell=sh
# What boot.sh looks at in the machine, behind the installation. Not by itself.

answers() { curl -fsS --max-time 5 "$@"; }
until_is() { # COMMAND WANTED: asked for half a minute
    for _ in $(seq 60); do
        [ "$(eval "$1" 2>/dev/null)" = "$2" ] && return
        sleep 0.5
    done
    eval "$1"
    journalctl --no-pager -n 40 -p notice
    exit 1
}

systemctl is-active nsqd@1 nsqd@2 nsqlookupd nsqadmin

# They are a cluster: both nodes are found, and the dashboard sees them.
until_is "answers 127.0.0.1:4161/nodes | grep -o broadcast_address | wc -l" 2
until_is "answers 127.0.0.1:4171/api/nodes | grep -o '\"hostname\"' | wc -l" 2
/opt/nsqx/bin/nsqx doctor --lookupd 127.0.0.1:4161

# The dashboard is reached from this machine only; brokers and the directory from others.
[ "$(ss -Hltn sport = :4171 | awk '{print $4}')" = 127.0.0.1:4171 ]
[ "$(ss -Hltn sport = :4150 | wc -l)" -ge 1 ]

# What was acknowledged outlives a restart, and a kill, after which systemd starts it again.
answers -d hello '127.0.0.1:4151/pub?topic=t'
systemctl restart nsqd@1
systemctl kill --signal=KILL nsqd@1
until_is "systemctl show -P NRestarts nsqd@1" 1
until_is "answers '127.0.0.1:4151/stats?format=json' | grep -o '\"depth\":1' | head -1" '"depth":1'

# A node that hangs gives no sign of life, and is started again.
systemctl kill --signal=STOP nsqd@2
for _ in $(seq 90); do
    [ "$(systemctl show -P NRestarts nsqd@2)" = 1 ] && break
    sleep 1
done
until_is "answers 127.0.0.1:4251/ping" OK

# All that was written belongs to the user of the services, and is not for everybody.
[ "$(stat -c '%U %a' /var/lib/nsqx/nsqd-1)" = 'nsqx 750' ]
systemctl stop nsqd@1 nsqd@2 nsqlookupd nsqadmin
for unit in nsqd@1 nsqd@2 nsqlookupd nsqadmin; do
    [ "$(systemctl show -P Result "$unit")" = success ]
done
echo 'the units are a cluster'
