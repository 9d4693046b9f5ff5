# shellcheck shell=bash
# What must be true of a machine before anything is changed on it.

EARLIEST=2026-11-01 # no clock that is right shows less
LATEST=2056-11-01
PROGRAM_MB=350 # a release while it is made; measured: 190 MB, and what pip unpacks

require_root() {
    [[ $(id -u) -eq 0 ]] || fail "this needs root" "sudo $0"
}

lock_out_others() {
    exec 9>/run/edge-energy-install.lock
    flock -n 9 || fail "another installation is running" "Wait until it is done; \"ps -C install.sh\" shows it."
}

look_at_machine() {
    require_debian
    check_grafana
    check_zigbee2mqtt
    require_clock
    require_space
    # shellcheck disable=SC2153 # PORT is a choice
    require_port "$PORT" edge-energy.service "Choose another one with --port, such as --port 8080"
}

require_debian() {
    local bits version kind
    bits=$(getconf LONG_BIT)
    kind=$(dpkg --print-architecture 2>/dev/null || true)
    [[ -n $kind ]] || fail "this is no Debian: there is no dpkg" "Use Raspberry Pi OS Lite (64-bit) or Debian 12 or newer."
    [[ $bits == 64 && ($kind == arm64 || $kind == amd64) ]] ||
        fail "this system is $bits-bit ($kind)" "Install Raspberry Pi OS Lite (64-bit): databases and packages are 64-bit only."
    [[ -d /run/systemd/system ]] || fail "systemd does not run here" "Install it on a machine, not in a container without systemd."
    # shellcheck disable=SC1091 # the machine's own file
    version=$(. /etc/os-release && printf '%s %s' "${ID:-}" "${VERSION_ID:-99}")
    if [[ $version =~ ^(debian|raspbian)\ ([0-9]+) && ${BASH_REMATCH[2]} -lt 12 ]]; then
        fail "this is Debian ${BASH_REMATCH[2]}" "Debian 12 (bookworm) is the oldest that will do: write a new card."
    fi
    if command -v python3 >/dev/null && ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        fail "$(python3 -V) is too old" "Python 3.11 or newer is needed: Debian 12 (bookworm) has it."
    fi
}

require_clock() {
    local now
    now=$(date +%s)
    if [[ $now -lt $(date -d "$EARLIEST" +%s) || $now -gt $(date -d "$LATEST" +%s) ]]; then
        fail "the clock is wrong: $(date)" \
            "No certificate is valid at that time. Wait until \"timedatectl\" says that it is synchronized, or set it: sudo date -s '2026-11-21 12:00'"
    fi
}

# Only what is still to be installed needs space.
require_space() {
    local wanted=$PROGRAM_MB free place
    release_id
    [[ ! -e $RELEASE/.complete ]] || wanted=20
    [[ $WITH_ZIGBEE2MQTT == no || -d /opt/zigbee2mqtt ]] || wanted=$((wanted + 500))
    [[ $WITH_INFLUXDB == no || -n $INFLUXDB_URL ]] || have influxdb2 || wanted=$((wanted + 400))
    [[ $WITH_GRAFANA == no ]] || have grafana || wanted=$((wanted + 900))
    for place in /opt /var; do
        free=$(($(stat -f -c '%a * %S' "$place") / 1048576))
        [[ $free -ge $wanted ]] || fail "there is too little space on the disk of $place: $free MB are free, $wanted MB are needed" \
            "Make room: \"df -h\" shows what is full; \"sudo apt-get clean\" and \"sudo journalctl --vacuum-size=50M\" free what can be had again."
    done
}

have() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true) == installed ]]
}

# require_port PORT UNIT REMEDY: nobody but this unit listens there.
require_port() {
    local port=$1 unit=$2 remedy=$3 line pid name owner
    command -v ss >/dev/null || return 0
    while read -r line; do
        [[ $line =~ pid=([0-9]+) ]] || continue
        pid=${BASH_REMATCH[1]}
        owner=$(sed -n 's|.*/\([^/]*\.service\)$|\1|p' "/proc/$pid/cgroup" 2>/dev/null | head -n 1)
        [[ $owner != "$unit" ]] || continue
        name=$(tr -d '\0' <"/proc/$pid/comm" 2>/dev/null || true)
        fail "port $port is in use by ${name:-another program} (process $pid${owner:+, unit $owner})" "$remedy."
    done < <(ss -Hltnp "sport = :$port" 2>/dev/null || true)
}
