#!/bin/sh
# Installs what make deploy-check uses of Debian, where that can be done. What cannot be had is
# skipped there, with the reason.
set -u

# Some of the packages would start their services, which nobody asked for.
policy=/usr/sbin/policy-rc.d
keep_services_down() {
    if [ ! -e "$policy" ] && printf '#!/bin/sh\nexit 101\n' 2>/dev/null >"$policy"; then
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
}

for pair in promtool:prometheus docker-compose:docker-compose systemd-analyze:systemd \
    amtool:prometheus-alertmanager mandoc:mandoc zsh:zsh fish:fish /usr/sbin/nginx:nginx-light; do
    program=${pair%%:*} package=${pair#*:}
    if command -v "$program" >/dev/null || ! command -v apt-get >/dev/null; then
        continue
    fi
    if [ -z "${updated:-}" ]; then
        apt-get update -qq || true
        keep_services_down
        updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
        echo "$package can't be installed here" >&2
done
exit 0
