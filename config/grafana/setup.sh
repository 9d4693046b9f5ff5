# shellcheck shell=bash
# Grafana: with the house's dashboard, reading from InfluxDB with a token that may do nothing else. Sourced by install.sh.
#
# Source of the address: Grafana's "Install Grafana on Debian or Ubuntu"; of the fingerprint: apt.grafana.com, since August
# 2023 (the key is valid until August 2027). The file holds the revoked keys before it, too; only this one is trusted.
# For a mirror of one's own, set these in the environment of install.sh.
# shellcheck disable=SC2034 # CHANGED is for lib.sh
GRAFANA_REPOSITORY=${GRAFANA_REPOSITORY:-https://apt.grafana.com}
GRAFANA_KEY_URL=${GRAFANA_KEY_URL:-https://apt.grafana.com/gpg-full.key}
GRAFANA_KEY_FINGERPRINT=${GRAFANA_KEY_FINGERPRINT:-B53AE77BADB630A683046005963FA27710458545}

GRAFANA_UNIT=/etc/systemd/system/grafana-server.service.d
GRAFANA_DROP_IN=$GRAFANA_UNIT/edge-energy.conf # where it is, Grafana is ours
GRAFANA_ETC=/etc/grafana

# Before anything is changed on the machine.
check_grafana() {
    if [[ $WITH_GRAFANA == yes && $WITH_INFLUXDB == no ]]; then
        fail "Grafana shows what is in InfluxDB, and there is none" "Add --with-influxdb."
    fi
}

setup_grafana() {
    check_grafana
    CHANGED=no
    if { have grafana || have grafana-enterprise; } && [[ ! -e $GRAFANA_DROP_IN ]]; then
        note "Grafana was on this machine already: only a data source and a dashboard were added. Its users and passwords stay as they were."
    else
        require_port 3000 grafana-server.service "Stop that program, or leave out --with-grafana"
        grafana_on_this_machine
    fi
    put "$SOURCE/config/grafana/token.conf" "$GRAFANA_UNIT/edge-energy-token.conf" 0644
    provision_grafana
    start_grafana
}

grafana_on_this_machine() {
    secret grafana-admin.password 24 >/dev/null
    put "$SOURCE/config/grafana/grafana.conf" "$GRAFANA_DROP_IN" 0644
    repository grafana "$GRAFANA_REPOSITORY" stable main "$GRAFANA_KEY_URL" "$GRAFANA_KEY_FINGERPRINT" grafana
    packages grafana
}

# After the package, which makes the group and fills an empty /etc/grafana.
provision_grafana() {
    local zone group=grafana
    zone=$(grafana_time_zone)
    getent group grafana >/dev/null || group=root # only with --dry-run
    sed -e "s|@URL@|$(sed_literal "$INFLUXDB_URL")|" -e "s|@ORG@|$(sed_literal "$INFLUXDB_ORG")|" \
        -e "s|@BUCKET@|$(sed_literal "$INFLUXDB_BUCKET")|" "$SOURCE/config/grafana/datasource.yaml" |
        put - "$GRAFANA_ETC/provisioning/datasources/edge-energy.yaml" 0640 "root:$group"
    put "$SOURCE/config/grafana/dashboards.yaml" "$GRAFANA_ETC/provisioning/dashboards/edge-energy.yaml" 0640 "root:$group"
    sed "s|@TIMEZONE@|$(sed_literal "$zone")|" "$SOURCE/config/grafana/house.json" |
        put - "$GRAFANA_ETC/edge-energy/house.json" 0640 "root:$group"
}

# A day of the dashboard is a day of the house: by the time zone of this machine.
grafana_time_zone() {
    local place
    place=$(readlink -f /etc/localtime || true)
    if [[ $place == */zoneinfo/* ]]; then printf '%s' "${place##*/zoneinfo/}"; else printf 'Etc/UTC'; fi
}

# A text as the right side of a sed command with | between its parts, inside double quotes of YAML or JSON.
sed_literal() {
    printf '%s' "$1" | sed -e 's/["\\]/\\&/g' -e 's/[\\&|]/\\&/g'
}

start_grafana() {
    [[ $DRY_RUN == no ]] || return 0
    if changed_or_interrupted; then
        run systemctl daemon-reload
        restart_later grafana-server.service
    fi
    unit enable grafana-server.service
}

# With --uninstall, Grafana stays, and shows what is in InfluxDB; with --purge it goes, if it was brought by us.
purge_grafana() {
    if [[ -e $GRAFANA_DROP_IN ]]; then
        if have grafana; then
            changed "removing Grafana with everything in it" "would remove Grafana with everything in it"
            unit disable grafana-server.service
            purge_packages grafana
        fi
        remove /var/lib/grafana /var/log/grafana "$GRAFANA_ETC"
        forget_repository grafana
    fi
    remove "$GRAFANA_DROP_IN" "$GRAFANA_UNIT/edge-energy-token.conf" "$GRAFANA_ETC/edge-energy" \
        "$GRAFANA_ETC"/provisioning/{datasources,dashboards}/edge-energy.yaml
}
