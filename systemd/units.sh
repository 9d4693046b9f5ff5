# shellcheck shell=bash
# Users, systemd's units, the names of Zigbee dongles, the size of the log.

UNITS=/etc/systemd/system
LOG_SIZE=/etc/systemd/journald.conf.d/10-edge-energy.conf # early, so that what the operator writes into another one counts

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
    ! changed_or_interrupted || tell_udev
}

tell_udev() {
    if command -v udevadm >/dev/null; then
        run_quietly udevadm control --reload
        run_quietly udevadm trigger --subsystem-match=tty
    fi
}

put_log_size() {
    CHANGED=no
    put "$SOURCE/systemd/journald.conf" "$LOG_SIZE" 0644
    remove "${LOG_SIZE/10-/}" # its name in earlier releases
    ! changed_or_interrupted || restart_later systemd-journald.service
}

# For what is no change by itself, and whose failure shows in what comes after.
run_quietly() {
    [[ $DRY_RUN == yes ]] || attempt "$@" || true
}

# Start what is new or has changed: the daemon first, and one that does not start keeps no other from it.
start_units() {
    local name failed=()
    if [[ $INTERRUPTED == yes ]]; then
        restart_everything
    fi
    if [[ " ${RESTART[*]} " == *" edge-energy.service "* ]]; then
        start_daemon
    fi
    for name in "${RESTART[@]}"; do
        if [[ $DRY_RUN == yes ]]; then
            say "would restart $name"
        elif [[ $name != edge-energy.service ]] && ! attempt systemctl restart "$name"; then
            failed+=("$name: $(last_words)")
        fi
    done
    if [[ ${#failed[@]} -gt 0 ]]; then
        fail "$(printf '%s\n' "${failed[@]}")" "\"journalctl -u ${failed[0]%%:*}\" tells why. The daemon runs."
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
