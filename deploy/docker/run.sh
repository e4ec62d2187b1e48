#!/bin/sh
# Builds the image without a registry of images, and runs the cluster of deploy/compose with it:
#
#   sh deploy/docker/run.sh [FOLDER]
#
# As a user that is not root: podman gives root's containers limits that root may not raise
# everywhere. The base is Debian with its Python, made by mmdebstrap (FOLDER/base.tar, made by root
# if users may not); buildah builds, podman runs two nsqlookupd, three nsqd and the dashboard under
# the names that the compose file has. Ends with 0 if all is well, 77 if it can't be tried here.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)

cannot() {
    echo "not tried: $1" >&2
    exit 77
}
for tool in buildah podman; do
    command -v "$tool" >/dev/null || cannot "there is no $tool here"
done
if [ $# -gt 0 ]; then
    folder=$1
    mkdir -p "$folder"
else
    folder=$(mktemp -d)
fi
# Nothing of what is here already is used or changed.
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot CONTAINERS_CONF="$folder/containers.conf"
printf '[network]\nnetwork_backend = "netavark"\n' >"$CONTAINERS_CONF"
kept="--root=$folder/store --runroot=$folder/run"
# crun can't do without cgroups of one version; runc can.
runtime=$(command -v runc || command -v crun) || cannot "there is no runc here"
engine="podman $kept --runtime=$runtime --cgroup-manager=cgroupfs --events-backend=file"
ended() {
    $engine rm -f -t 5 -a >/dev/null 2>&1 || true
    $engine network rm -f nsqx-run >/dev/null 2>&1 || true
    if [ "$(id -u)" = 0 ]; then
        rm -rf "$folder/store" "$folder/run"
    else # files in there belong to users of ours
        buildah unshare rm -rf "$folder/store" "$folder/run" || true
    fi
}
trap ended EXIT

# The image.
if [ ! -e "$folder/base.tar" ]; then
    command -v mmdebstrap >/dev/null || cannot "there is no mmdebstrap here"
    packages=python3,python3-venv,python-is-python3,ca-certificates
    mmdebstrap --quiet --variant=minbase --include="$packages" bookworm "$folder/base.tar" ||
        cannot "mmdebstrap could not make the base"
fi
# shellcheck disable=SC2086  # options are words
{
    base=$(buildah $kept from scratch) || cannot "buildah starts nothing here"
    buildah $kept add -q "$base" "$folder/base.tar" / >/dev/null
    buildah $kept commit -q "$base" localhost/nsqx-base >/dev/null
    mounts=
    for given in /etc/ssl/certs /opt/wheels; do # what pip may be told of here
        [ ! -d "$given" ] || mounts="$mounts -v $given:$given:ro"
    done
    buildah $kept build -q --format docker --network host --build-arg BASE=localhost/nsqx-base $mounts \
        -f "$source/deploy/docker/Dockerfile" -t localhost/nsqx "$source" >/dev/null
}
echo "the image is built, by $(id -un)"

# The cluster of the compose file.
hardened="--read-only --cap-drop=ALL --security-opt=no-new-privileges --network=nsqx-run"
start() { # NAME, options of podman, --, command
    name=$1 options=
    shift
    while [ "$1" != -- ]; do options="$options $1" && shift; done
    shift
    # shellcheck disable=SC2086
    $engine run -d --name "$name" --hostname "$name" $hardened $options localhost/nsqx "$@" \
        >/dev/null 2>"$folder/said" || { cat "$folder/said" >&2 && return 1; }
}
inside() { $engine exec nsqadmin "$@"; }
until_is() { # WANTED COMMAND..: asked for half a minute
    wanted=$1
    shift
    for _ in $(seq 60); do
        said=$(inside "$@" 2>&1) && [ "$said" = "$wanted" ] && return
        sleep 0.5
    done
    echo "$* says $said, not $wanted"
    $engine logs nsqd-1 2>&1 | tail -20
    exit 1
}
$engine network create nsqx-run >/dev/null || cannot "podman makes no networks here"
start nsqlookupd-1 -- nsqlookupd || cannot "podman starts nothing here (as root: try a user)"
start nsqlookupd-2 -- nsqlookupd
for node in nsqd-1 nsqd-2 nsqd-3; do
    start "$node" -v "$node:/data" -e NSQD_BROADCAST_ADDRESS="$node" \
        -e NSQD_LOOKUPD_TCP_ADDRESS=nsqlookupd-1:4160,nsqlookupd-2:4160 -e NSQD_DRAIN_TIMEOUT=20s -- nsqd
done
start nsqadmin -e NSQADMIN_LOOKUPD_HTTP_ADDRESS=nsqlookupd-1:4161,nsqlookupd-2:4161 -- nsqadmin

ask='import json, sys, urllib.request as r; print(eval(sys.argv[2], {"d": json.load(r.urlopen(sys.argv[1], timeout=5))}))'
for lookupd in nsqlookupd-1 nsqlookupd-2; do
    until_is 3 python -c "$ask" "http://$lookupd:4161/nodes" 'len(d["producers"])'
done
until_is 3 python -c "$ask" http://127.0.0.1:4171/api/nodes 'len(d["nodes"])'
inside nsqx doctor --lookupd nsqlookupd-1:4161 --lookupd nsqlookupd-2:4161
inside sh -c 'seq 300 | nsqx pub t --lookupd nsqlookupd-1:4161'

# A node that is killed has what it had, and publishes go to those that are there.
$engine kill nsqd-2 >/dev/null
inside sh -c 'seq 300 | nsqx pub t --lookupd nsqlookupd-1:4161'
$engine start nsqd-2 >/dev/null 2>&1 # without systemd podman complains of health checks
until_is 3 python -c "$ask" http://nsqlookupd-1:4161/nodes 'len(d["producers"])'
got=$(inside nsqx tail t --channel c -n 600 --lookupd nsqlookupd-1:4161 | sort -n | uniq -c | awk '$1 == 2' | wc -l)
[ "$got" = 300 ] || { echo "of 300 twice published $got came twice" && exit 1; }
$engine healthcheck run nsqd-1
[ "$($engine exec nsqd-1 id -u)" = 65532 ]
$engine stop -t 30 nsqd-1 >/dev/null
[ "$($engine inspect -f '{{.State.ExitCode}}' nsqd-1)" = 0 ]
echo 'the image runs as a cluster'
