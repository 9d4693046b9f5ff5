# shellcheck shell=bash
# Takes away what was installed. Data, configuration and secrets stay unless --purge says otherwise; Debian's own packages
# stay in either case: others may use them by now.

uninstall() {
    step "stopping"
    unit disable edge-energy.service edge-energy-simulator.service
    [[ ! -e /opt/zigbee2mqtt/.complete ]] || if_there remove_zigbee2mqtt
    step "removing programs and units"
    remove "$UNITS"/edge-energy{,-simulator}.service "$UNITS"/edge-energy.service.d/{zigpy,backoff}.conf \
        /etc/udev/rules.d/60-edge-energy-zigbee.rules /etc/systemd/journald.conf.d/edge-energy.conf \
        /usr/local/bin/edge-energy "$OPT"
    [[ $DRY_RUN == yes ]] || rmdir "$UNITS/edge-energy.service.d" /etc/systemd/journald.conf.d 2>/dev/null || true # if empty
    if_there remove_mosquitto
    run_quietly systemctl daemon-reload
    if [[ $PURGE == yes ]]; then
        purge
    else
        say "The programs are gone. Kept: $ETC (configuration, secrets), /var/lib/edge-energy (measurements)."
        say "install.sh takes them into use again; install.sh --uninstall --purge --yes deletes them."
    fi
    say "Debian's packages, such as mosquitto, stay with their own data: \"sudo apt-get purge mosquitto\" removes it."
    [[ $DRY_RUN == yes ]] || rm -f "$UNFINISHED"
}

purge() {
    local user
    step "deleting data, configuration and secrets"
    if_there purge_mosquitto
    if_there purge_influxdb
    if_there purge_grafana
    remove "$UNITS"/edge-energy{,-simulator}.service.d # also what the operator had put there
    remove /etc/credstore/edge-energy.* /var/lib/edge-energy /var/lib/zigbee2mqtt
    for user in edge-energy zigbee2mqtt; do
        if getent passwd "$user" >/dev/null; then
            changed "removed the user $user" "would remove the user $user"
            run userdel "$user"
        fi
    done
    [[ $DRY_RUN == yes ]] || rm -rf "$ETC" "$LOG" /run/edge-energy-install.lock
    say "Nothing of the appliance is left."
}
