# shellcheck shell=bash
# Users, systemd's units, the names of Zigbee dongles, the size of the log.

UNITS=/etc/systemd/system

make_users() {
    if ! getent passwd edge-energy >/dev/null; then
        changed "made the user edge-energy" "would make the user edge-energy"
        run useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin edge-energy
    fi
    # Whoever installs it may ask the daemon without sudo, once logged in again.
    if [[ -n ${SUDO_USER:-} && ${SUDO_USER:-} != root ]] && ! id -nG "$SUDO_USER" | grep -qw edge-energy; then
        changed "$SUDO_USER is now in the group edge-energy" "would add $SUDO_USER to the group edge-energy"
        run usermod --append --groups edge-energy "$SUDO_USER"
        note "Log out and in again: then \"edge-energy status\" works without sudo."
    fi
    directory "$ETC" 0755
    directory "$SECRETS" 0700
    directory /etc/credstore 0700
    directory "$OPT/releases" 0755
}

put_units() {
    CHANGED=no
    put "$SOURCE/systemd/edge-energy.service" "$UNITS/edge-energy.service" 0644
    put_zigpy
    put_backoff
    [[ $CHANGED == no ]] || restart_later edge-energy.service
    CHANGED=no
    put "$SOURCE/systemd/edge-energy-simulator.service" "$UNITS/edge-energy-simulator.service" 0644
    [[ $CHANGED == no || $MODE == hardware ]] || restart_later edge-energy-simulator.service
    run_quietly systemctl daemon-reload
    put_rules
    put_log_size
    unit enable edge-energy.service
    if [[ $MODE == simulation ]]; then
        unit enable edge-energy-simulator.service
    else
        unit disable edge-energy-simulator.service
    fi
}

# With zigpy the daemon itself may use the dongle.
put_zigpy() {
    local target=$UNITS/edge-energy.service.d/zigpy.conf
    if [[ $WITH_ZIGPY == yes && $MODE == hardware ]]; then
        put - "$target" 0644 <<'END'
# Put here by install.sh --with-zigpy: the daemon itself may use the Zigbee dongle.
[Service]
SupplementaryGroups=dialout
PrivateDevices=no
PrivateUsers=no
DeviceAllow=char-ttyUSB rw
DeviceAllow=char-ttyACM rw
END
        note "The dongle is the daemon's now, but this release of the daemon does not read the radio itself yet: for measurements over Zigbee today, use --with-zigbee2mqtt."
    else
        remove "$target"
    fi
}

# What only newer versions of systemd know stands in a file of its own.
put_backoff() {
    local target=$UNITS/edge-energy.service.d/backoff.conf version
    version=$(systemctl --version | awk 'NR == 1 {print $2}')
    if [[ $version -ge 254 ]]; then
        put "$SOURCE/systemd/backoff.conf" "$target" 0644
    else
        remove "$target"
    fi
}

put_rules() {
    local rules
    CHANGED=no
    for rules in "$SOURCE"/systemd/*.rules; do
        put "$rules" "/etc/udev/rules.d/${rules##*/}" 0644
    done
    if [[ $CHANGED == yes ]] && command -v udevadm >/dev/null; then
        run_quietly udevadm control --reload
        run_quietly udevadm trigger --subsystem-match=tty
    fi
}

put_log_size() {
    CHANGED=no
    put "$SOURCE/systemd/journald.conf" /etc/systemd/journald.conf.d/edge-energy.conf 0644
    [[ $CHANGED == no ]] || restart_later systemd-journald.service
}

# For what is no change by itself, and whose failure shows in what comes after.
run_quietly() {
    [[ $DRY_RUN == yes ]] || attempt "$@" || true
}

# Start what is new or has changed; the daemon last, for it must show that it is well.
start_units() {
    local name
    if [[ $INTERRUPTED == yes ]]; then
        restart_everything
    fi
    for name in "${RESTART[@]}"; do
        [[ $name == edge-energy.service ]] || run systemctl restart "$name"
    done
    if [[ " ${RESTART[*]} " == *" edge-energy.service "* ]]; then
        start_daemon
    fi
}

# Nobody knows what the interrupted run had changed and not yet started again. (mosquitto's setup knows that by itself.)
restart_everything() {
    local name
    for name in zigbee2mqtt edge-energy edge-energy-simulator; do
        if systemctl is-enabled --quiet "$name.service" 2>/dev/null; then
            restart_later "$name.service"
        fi
    done
}
