# shellcheck shell=bash
# Takes away what was installed. Data, configuration and secrets stay unless --purge says otherwise; Debian's own packages
# stay in either case: others may use them by now.

uninstall() {
    step "stopping"
    unit disable edge-energy.service edge-energy-simulator.service
    remove_zigbee2mqtt
    step "removing programs and units"
    remove "$UNITS"/edge-energy{,-simulator}.service "$UNITS"/edge-energy.service.d/{zigpy,backoff}.conf \
        /etc/udev/rules.d/60-edge-energy-zigbee.rules "$LOG_SIZE" "${LOG_SIZE/10-/}" \
        /usr/local/bin/edge-energy "$OPT"
    [[ $DRY_RUN == yes ]] || rmdir "$UNITS/edge-energy.service.d" /etc/systemd/journald.conf.d 2>/dev/null || true # if empty
    remove_mosquitto
    tell_udev
    if [[ $PURGE == yes ]]; then
        purge
    else
        say "The programs are gone. Kept: $ETC (configuration, secrets), /var/lib/edge-energy (measurements)."
        say "install.sh takes them into use again; install.sh --uninstall --purge --yes deletes them."
    fi
    run_quietly systemctl daemon-reload
    say "Debian's packages, such as mosquitto, stay with their own data: \"sudo apt-get purge mosquitto\" removes it."
    [[ $DRY_RUN == yes ]] || rm -f "$UNFINISHED"
    [[ $DRY_RUN == yes || $PURGE == no ]] || rm -rf "$ETC" "$LOG" /run/edge-energy-install.lock # they served until here
}

purge() {
    step "deleting data, configuration and secrets"
    purge_mosquitto
    purge_zigbee2mqtt
    purge_influxdb
    purge_grafana
    remove "$UNITS"/edge-energy{,-simulator}.service.d # also what the operator had put there
    remove /etc/credstore/edge-energy.* /var/lib/edge-energy
    if getent passwd edge-energy >/dev/null; then
        changed "removed the user edge-energy" "would remove the user edge-energy"
        run userdel edge-energy
    fi
    if getent group edge-energy >/dev/null; then # with its user goes only a group that nobody else is in
        run groupdel edge-energy
    fi
    say "Nothing of the appliance is left."
}
