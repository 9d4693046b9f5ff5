# shellcheck shell=bash
# InfluxDB: brings one to this machine, or joins one that is there; either way the daemon gets a token that may write one
# bucket, and Grafana one that may read it. Sourced by install.sh.
#
# Source of address and key: InfluxData's "Package Signing Key Rotation" (influxdata.com/blog/package-signing-key-rotation):
# the primary key has been the same since 2023; since January 2026 a signing subkey below it that is valid until 2029 is used.
# For a mirror of one's own, set these in the environment of install.sh.
INFLUXDATA_REPOSITORY=${INFLUXDATA_REPOSITORY:-https://repos.influxdata.com/debian}
INFLUXDATA_KEY_URL=${INFLUXDATA_KEY_URL:-https://repos.influxdata.com/influxdata-archive.key}
INFLUXDATA_KEY_FINGERPRINT=${INFLUXDATA_KEY_FINGERPRINT:-24C975CBA61A024EE1B631787C3D57159FC2F927}

INFLUXDB_HERE=http://127.0.0.1:8086
INFLUXDB_DROP_IN=/etc/systemd/system/influxdb.service.d/edge-energy.conf # where it is, InfluxDB is ours

setup_influxdb() {
    local wished=$INFLUXDB_URL
    know_influxdb
    if [[ -n $wished && $wished != "$INFLUXDB_URL" ]]; then
        fail "the configuration names another InfluxDB than --influxdb-url: $INFLUXDB_URL" \
            "Leave the option out, or change url, org and bucket of [influxdb] in $CONFIGURATION and run this again."
    fi
    if [[ -z $wished && $INFLUXDB_URL == "$INFLUXDB_HERE" ]]; then
        influxdb_on_this_machine
    fi
    make_influxdb_tokens
    CHANGED=no
    link_secret influxdb-write.token influxdb.token
    [[ $CHANGED == no ]] || restart_later edge-energy.service
    add_table influxdb "The InfluxDB 2 database that gets every measurement; its token is a credential of the unit." \
        "url=$INFLUXDB_URL" "org=$INFLUXDB_ORG" "bucket=$INFLUXDB_BUCKET"
}

# Which InfluxDB it is: the one of the configuration, if it names one; else what the options say; else one on this machine.
know_influxdb() {
    local known=()
    if [[ $DRY_RUN == no && -e $CONFIGURATION ]]; then
        ours setup influxdb-settings "$CONFIGURATION"
        mapfile -t known <"$WORK/answer"
    fi
    INFLUXDB_URL=${known[0]:-${INFLUXDB_URL:-$INFLUXDB_HERE}}
    INFLUXDB_ORG=${known[1]:-${INFLUXDB_ORG:-home}}
    INFLUXDB_BUCKET=${known[2]:-${INFLUXDB_BUCKET:-energy}}
}

influxdb_on_this_machine() {
    if have influxdb2 && [[ ! -e $INFLUXDB_DROP_IN ]]; then
        note "InfluxDB was on this machine already. It is used, and left as it is: who can reach it is its operator's choice."
        return
    fi
    if have influxdb; then
        fail "InfluxDB 1 is installed on this machine, and InfluxDB 2 cannot be beside it" \
            "Use an InfluxDB 2 on another machine (--influxdb-url, --influxdb-token-file), or remove InfluxDB 1: sudo apt-get remove influxdb"
    fi
    require_port 8086 influxdb.service \
        "If it is an InfluxDB 2, use it: --influxdb-url $INFLUXDB_HERE --influxdb-token-file FILE. Otherwise stop it"
    CHANGED=no
    # Before the package, which starts InfluxDB at once: it never listens to the network, not even for a moment.
    put "$SOURCE/config/influxdb/influxdb.conf" "$INFLUXDB_DROP_IN" 0644
    start_influxdb_again=$CHANGED
    repository influxdata "$INFLUXDATA_REPOSITORY" stable main "$INFLUXDATA_KEY_URL" "$INFLUXDATA_KEY_FINGERPRINT" influxdb2
    packages influxdb2
    start_influxdb
}

# Now, not at the end: the next step talks to it.
start_influxdb() {
    [[ $DRY_RUN == no ]] || return 0
    if [[ $start_influxdb_again == yes || $INTERRUPTED == yes ]]; then
        run systemctl daemon-reload
        run systemctl restart influxdb.service
    elif ! systemctl is-active --quiet influxdb.service; then
        changed "starting InfluxDB"
        run systemctl start influxdb.service
    fi
    unit enable influxdb.service
}

make_influxdb_tokens() {
    local line options=(--url "$INFLUXDB_URL" --org "$INFLUXDB_ORG" --bucket "$INFLUXDB_BUCKET" --secrets "$SECRETS")
    if [[ $DRY_RUN == yes ]]; then
        say "would make organisation $INFLUXDB_ORG, bucket $INFLUXDB_BUCKET and their tokens at $INFLUXDB_URL, where they are missing"
        return
    fi
    if [[ -n ${INFLUXDB_TOKEN:-} ]]; then
        (umask 077 && printf '%s\n' "$INFLUXDB_TOKEN" >"$WORK/influxdb.token")
        options+=(--token-file "$WORK/influxdb.token")
    fi
    [[ $WITH_GRAFANA == no ]] || options+=(--reader)
    if ! "$RELEASE/bin/edge-energy" setup influxdb "${options[@]}" >"$WORK/answer" 2>"$WORK/error" </dev/null; then
        fail "$(head -n 1 "$WORK/error")" "$(tail -n +2 "$WORK/error")"
    fi
    while IFS= read -r line; do
        changed "$line"
    done <"$WORK/answer"
}

# With --uninstall, InfluxDB stays as it is, and bound to this machine; with --purge it goes, if it was brought by us.
purge_influxdb() {
    [[ -e $INFLUXDB_DROP_IN ]] || return 0
    if have influxdb2; then
        changed "removing InfluxDB with everything in it" "would remove InfluxDB with everything in it"
        unit disable influxdb.service
        purge_packages influxdb2
    fi
    forget_repository influxdata
    # Not the directories: an InfluxDB 1, which was there before, has its data and settings in the same.
    remove /var/lib/influxdb/{influxd.bolt,influxd.pid,engine,.cache} /var/lib/influxdb/influxd.sqlite* \
        /etc/influxdb/config.toml /etc/default/influxdb2 "$INFLUXDB_DROP_IN"
    [[ $DRY_RUN == yes ]] ||
        rmdir /var/lib/influxdb /var/log/influxdb /etc/influxdb "$(dirname "$INFLUXDB_DROP_IN")" 2>/dev/null || true # if empty
}
