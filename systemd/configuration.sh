# shellcheck shell=bash
# The configuration file: made once of the annotated sample; afterwards it is the operator's, and only ever added to.

CONFIGURATION=$ETC/edge-energy.toml

make_configuration() {
    if [[ -e $CONFIGURATION ]]; then
        check_configuration
        tell_new_settings
        if [[ $PORT_GIVEN == yes && $DRY_RUN == no ]]; then
            tell_port
        fi
    else
        ours setup config "$SOURCE/config/edge-energy.toml" --id "$(own_name)" --port "$PORT" --username edge-energy
        put_answer "$CONFIGURATION" 0640 root:edge-energy
    fi
}

# A name that no other appliance has, though all of them may be called raspberrypi: in a cloud they meet.
own_name() {
    printf '%s-%.6s' "$(hostname)" "$(sha256sum /etc/machine-id)"
}

# ours ARGUMENT…: ask the command line of the release that is being installed; the answer is in $WORK/answer.
ours() {
    [[ $DRY_RUN == no ]] || return 0
    if ! "$RELEASE/bin/edge-energy" "$@" >"$WORK/answer" 2>"$WORK/error"; then
        fail "edge-energy $1 ${2:-}: $(tail -n 5 "$WORK/error")" "If this is not your own doing, it is a defect of the program."
    fi
}

put_answer() {
    if [[ $DRY_RUN == yes ]]; then
        changed "" "would write $1"
    else
        CHANGED=no
        put "$WORK/answer" "$@"
        [[ $CHANGED == no ]] || restart_later edge-energy.service
    fi
}

# add_table TABLE COMMENT KEY=VALUE…: to the end of the configuration, unless it has this table.
add_table() {
    local table=$1 comment=$2
    shift 2
    if [[ -e $CONFIGURATION ]]; then
        ours setup add-table "$CONFIGURATION" "$table" "$@" --comment "$comment"
        put_answer "$CONFIGURATION" 0640 root:edge-energy
    fi
}

# Every mistake is told before anything of the running appliance is touched.
check_configuration() {
    [[ $DRY_RUN == no ]] || return 0
    if ! "$RELEASE/bin/edge-energy" check --config "$CONFIGURATION" >/dev/null 2>"$WORK/error"; then
        fail "the configuration is not valid: $(sed 's/^/\n    /' "$WORK/error" | head -n 24)" \
            "Correct $CONFIGURATION and run this again. The appliance goes on as it was."
    fi
}

tell_new_settings() {
    local before
    before=$(named current)/share/config/edge-energy.toml
    [[ -e $before && $DRY_RUN == no ]] || return 0
    ours setup new-settings "$before" "$SOURCE/config/edge-energy.toml"
    if [[ -s $WORK/answer ]]; then
        note "This release has new settings, explained in $OPT/current/share/config/edge-energy.toml: $(paste -sd, "$WORK/answer" | sed 's/,/, /g')"
    fi
}

tell_port() {
    ours setup port --config "$CONFIGURATION"
    [[ $(<"$WORK/answer") == "$PORT" ]] ||
        note "The configuration is yours, so --port did not change it. In $CONFIGURATION, set [http] port = $PORT."
}
