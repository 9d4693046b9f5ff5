# shellcheck shell=bash
# The last thing that install.sh says: what there is, where it is, what comes next.

tidy_up() {
    [[ $DRY_RUN == no ]] || return 0
    SOMETHING_CHANGED=no
    [[ ! -e $UNFINISHED ]] || SOMETHING_CHANGED=yes
    remove_old_releases
    rm -f "$UNFINISHED"
}

summarise() {
    if [[ $DRY_RUN == yes ]]; then
        printf '\nNothing was done: --dry-run.\n'
        return
    fi
    [[ $SOMETHING_CHANGED == yes ]] || printf '\nNothing changed: everything was as it should be.\n'
    tell_addresses
    printf '\nSecrets:    %s, one file each, readable for root\n' "$SECRETS"
    printf 'Settings:   %s (explained inside; then: sudo systemctl reload edge-energy)\n' "$CONFIGURATION"
    tell_notes
    printf '\nNext:\n  edge-energy status\n  edge-energy doctor\n  edge-energy %s\n' \
        "$([[ $MODE == simulation ]] && printf devices || printf 'shelly discover')"
}

tell_addresses() {
    local host port
    host=$(hostname)
    ours setup port --config "$CONFIGURATION"
    port=$(<"$WORK/answer")
    printf '\nThe appliance runs (%s, release %s).\n' "$MODE" "${RELEASE##*/}"
    [[ -z $port ]] || printf 'HTTP:       http://%s.local:%s\n' "$host" "$port"
    printf 'MQTT:       %s.local:1883, users and passwords: %s/mqtt-*.password\n' "$host" "$SECRETS"
    [[ $WITH_GRAFANA == no ]] || printf 'Grafana:    http://%s.local:3000, user admin, password: %s/grafana-admin.password\n' "$host" "$SECRETS"
    if [[ $WITH_INFLUXDB == yes ]]; then
        printf 'InfluxDB:   %s\n' "$INFLUXDB_URL"
    fi
}
