#!/bin/sh
# Boots a machine with the units, installed as deploy/README.md says it ("systemd, in short"), and
# looks whether they are a cluster:
#
#   sudo sh deploy/systemd/boot.sh [FOLDER]
#
# The machine is Debian, made by mmdebstrap in FOLDER (else a temporary one), and booted by
# systemd-nspawn with a network of its own. Ends with 0 if all is well, 77 if it can't be tried here.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}

cannot() {
    echo "not tried: $1" >&2
    exit 77
}
[ "$(id -u)" = 0 ] || cannot "systemd-nspawn wants root"
for tool in mmdebstrap systemd-nspawn "$python"; do
    command -v "$tool" >/dev/null || cannot "there is no $tool here"
done
if [ $# -gt 0 ]; then
    folder=$1
    mkdir -p "$folder"
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi
machine=$folder/machine wheels=$folder/wheels

packages=python3,python3-venv,systemd,systemd-sysv,dbus,curl,iproute2
if [ ! -e "$machine/sbin/init" ]; then
    mmdebstrap --quiet --variant=minbase --include="$packages" bookworm "$machine" ||
        cannot "mmdebstrap could not make the machine"
fi
version='import sys; print("%d.%d" % sys.version_info[:2])'
inside=$(systemd-nspawn -q -D "$machine" --register=no --keep-unit --pipe python3 -c "$version") ||
    cannot "systemd-nspawn starts nothing here"
[ "$inside" = "$("$python" -c "$version")" ] || cannot "wheels for Python $inside are wanted"
if [ ! -e "$wheels" ]; then
    "$python" -m pip -q wheel -w "$wheels" "$source" || cannot "the wheels could not be had"
fi

# As Debian's installer leaves it: a host knows its own name.
printf '127.0.0.1 localhost\n127.0.1.1 machine\n' >"$machine/etc/hosts"
echo machine >"$machine/etc/hostname"

# What is typed in the machine: the lines of the README, and what they are to give.
{
    printf '%s\n' 'set -eu' 'cd /source'
    awk '/^## systemd, in short/ { on = 1; next } /^## / { on = 0 } on && /^    / { print substr($0, 5) }' \
        "$source/deploy/README.md"
    cat "$source/deploy/systemd/boot-check.sh"
} >"$machine/root/check.sh"
cat >"$machine/etc/systemd/system/check.service" <<'UNIT'
[Unit]
Description=The check of the units
[Service]
Type=oneshot
Environment=PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
ExecStart=/bin/sh -c 'sh /root/check.sh >/root/log 2>&1; echo $? >/root/code'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=300
[Install]
WantedBy=multi-user.target
UNIT
mkdir -p "$machine/etc/systemd/system/multi-user.target.wants"
ln -sf ../check.service "$machine/etc/systemd/system/multi-user.target.wants/check.service"
rm -rf "$machine/root/code" "$machine/opt/nsqx" "$machine/var/lib/nsqx"
timeout 400 systemd-nspawn -q -D "$machine" --register=no --keep-unit --boot --private-network \
    --bind-ro="$source:/source" --bind-ro="$wheels:/wheels" </dev/null >"$folder/console" 2>&1 || true
cat "$machine/root/log"
[ -e "$machine/root/code" ] || { tail -20 "$folder/console" && exit 1; }
exit "$(cat "$machine/root/code")"
