# shellcheck shell=bash
# From one release to another and back. The new one must become ready and healthy within a minute; else the old one is put
# back with its unit files, and with its journal if the new one has changed that.

: "${HEALTHY_WITHIN:=60}" # seconds; the tests wait less

switch_release() {
    local before
    before=$(named current)
    OLDER=$(readlink "$OPT/previous" 2>/dev/null || true) # what `previous` is again if this does not work
    if [[ $before != "$RELEASE" ]]; then
        if [[ -n $before && $DRY_RUN == no ]]; then
            keep_journal "$before"
            link "releases/${before##*/}" "$OPT/previous"
        fi
        link "releases/${RELEASE##*/}" "$OPT/current"
        restart_later edge-energy.service
        [[ $MODE == hardware ]] || restart_later edge-energy-simulator.service
    fi
    link "$OPT/current/bin/edge-energy" /usr/local/bin/edge-energy
}

# A release that changes the journal's schema could not be undone without a copy from before. The daemon stands still while
# it is made, and nothing that it has acknowledged is missing in it.
keep_journal() {
    local old=$1 schema state
    ours setup schema
    schema=$(<"$WORK/answer")
    ours setup state-dir --config "$CONFIGURATION"
    state=$(<"$WORK/answer")
    if [[ $("$old/bin/edge-energy" setup schema) != "$schema" ]]; then
        say "the new release changes the journal: copying it first"
        run systemctl stop edge-energy.service
    fi
    if ! as_daemon "$old/bin/edge-energy" setup keep-journal "$state" --schema "$schema"; then
        attempt systemctl start edge-energy.service || true
        fail "the journal cannot be copied: $(<"$WORK/error")" "Make room in $state (df -h $state). The old release runs on."
    fi
}

# As the user that the journal belongs to; the answer is in $WORK/answer.
as_daemon() {
    runuser -u edge-energy -- "$@" >"$WORK/answer" 2>"$WORK/error" </dev/null
}

start_daemon() {
    local wrong
    [[ $DRY_RUN == no ]] || return 0
    say "waiting until the daemon is healthy, at most $HEALTHY_WITHIN s"
    if wrong=$(become_healthy); then
        [[ -e $RELEASE/.healthy ]] || : >"$RELEASE/.healthy"
    elif [[ ! -e $RELEASE/.healthy && -e $OPT/previous/.complete && $AS_IT_IS == no ]]; then
        undo_upgrade "$wrong"
    else
        fail "the daemon does not become healthy: $wrong" \
            "\"systemctl status edge-energy\" and \"journalctl -u edge-energy\" tell more; \"edge-energy doctor\" looks for causes."
    fi
}

# Print what is wrong, if it is.
become_healthy() {
    local begin=$SECONDS
    if ! timeout "$HEALTHY_WITHIN" systemctl restart edge-energy.service >"$WORK/error" 2>&1; then
        printf 'it does not start. '
        journalctl --quiet --no-pager --output=cat --lines=3 _SYSTEMD_UNIT=edge-energy.service 2>/dev/null || true
        return 1
    fi
    if ! CREDENTIALS_DIRECTORY=$WORK/credentials "$RELEASE/bin/edge-energy" setup healthy --config "$CONFIGURATION" \
        --within "$((HEALTHY_WITHIN - SECONDS + begin))" 2>&1; then
        return 1
    fi
}

undo_upgrade() {
    local wrong=$1 failed=$RELEASE
    step "going back to the release before"
    say "${failed##*/} does not work here: $wrong"
    return_to "$(named previous)" "$OLDER"
    remove "$failed"
    settle || fail "the release before could not be put back completely" "Run $OPT/current/share/install.sh"
    fail "the release ${failed##*/} did not become healthy within $HEALTHY_WITHIN s: $wrong" \
        "Nothing: ${RELEASE##*/} runs as before${ASIDE:+; what the new release recorded meanwhile is in $ASIDE}. Tell the makers what \"journalctl -u edge-energy\" says."
}

# return_to RELEASE PREVIOUS: let `current` be an older release, and `previous` what is named (nothing: none).
return_to() {
    local state
    RELEASE=$1
    ours setup state-dir --config "$CONFIGURATION"
    state=$(<"$WORK/answer")
    run systemctl stop edge-energy.service
    as_daemon "$RELEASE/bin/edge-energy" setup put-back-journal "$state" ||
        fail "the journal cannot be put back: $(<"$WORK/error")" "Run this again once that is mended; or install the newer release again."
    ASIDE=$(<"$WORK/answer")
    [[ -z $ASIDE ]] || note "The journal is the one from before the upgrade. What the newer release has recorded is in $ASIDE."
    link "releases/${RELEASE##*/}" "$OPT/current"
    if [[ -n $2 && -e $OPT/$2/.complete ]]; then
        link "$2" "$OPT/previous"
    else
        remove "$OPT/previous"
    fi
}

# The release that is current now puts its own files everywhere, and starts.
settle() {
    : >"$UNFINISHED" # it must restart everything
    exec 9>&-        # the lock is its now
    "$OPT/current/share/install.sh" --as-it-is
}

go_back() {
    local newer
    step "going back to the release before"
    [[ -e $OPT/previous/.complete ]] || fail "there is no release before this one" "Install the one that you want: its install.sh does it."
    newer=$(readlink "$OPT/current")
    RELEASE=$(named previous)
    if [[ $DRY_RUN == yes ]]; then
        say "would go back to ${RELEASE##*/}"
        return
    fi
    check_configuration
    return_to "$RELEASE" "$newer"
    settle
}
