# shellcheck shell=bash
# From one release to another and back. The new one must become ready and healthy within a minute; else the old one is put
# back with its unit files, and with its journal if the new one has changed that.

: "${HEALTHY_WITHIN:=60}" # seconds; the tests wait less
STOPPED=no              # whether this run has stopped the daemon and not yet seen it healthy again

# What is done in which order lets a run that was killed anywhere be gone on with, or be undone with --rollback: the way
# back is in $UNFINISHED from before the links change until everything is settled.
switch_release() {
    know_way_back "$(link_of current)" "$(link_of previous)"
    if [[ $DRY_RUN == no && -n $BACK ]]; then
        if [[ $BACK == "releases/${RELEASE##*/}" ]]; then
            link_previous "$OLDER"
        else
            keep_journal
            keep_way_back
            link_previous "$BACK"
        fi
    fi
    link_current
    link "$OPT/current/bin/edge-energy" /usr/local/bin/edge-energy
}

# know_way_back CURRENT PREVIOUS: set BACK and OLDER, what `current` and `previous` are to be if this does not work: as
# given, or as a run that was interrupted has noted before.
know_way_back() {
    if ! read -r BACK OLDER 2>/dev/null <"$UNFINISHED" || [[ ! -e $OPT/$BACK/.complete ]]; then
        BACK=$1 OLDER=$2
    fi
}

keep_way_back() {
    printf '%s %s\n' "$BACK" "$OLDER" | put - "$UNFINISHED" 0644 >/dev/null
}

link_of() {
    [[ ! -e $OPT/$1 ]] || readlink "$OPT/$1"
}

link_current() {
    [[ $(link_of current) != "releases/${RELEASE##*/}" ]] || return 0
    link "releases/${RELEASE##*/}" "$OPT/current"
    restart_later edge-energy.service
    [[ $MODE == hardware ]] || restart_later edge-energy-simulator.service
}

# link_previous RELEASE: nothing, or one that is not there, is none.
link_previous() {
    if [[ -n $1 && -e $OPT/$1/.complete ]]; then
        link "$1" "$OPT/previous"
    else
        remove "$OPT/previous"
    fi
}

# A release that changes the journal's schema could not be undone without a copy from before. The daemon stands still while
# it is made, and nothing that it has acknowledged is missing in it. The release before may not start any more.
keep_journal() {
    local state
    state=$(state_directory)
    as_daemon setup needs-copy "$state" || fail "the journal: $(<"$WORK/error")" "\"edge-energy doctor\" tells more. The old release runs on."
    [[ $(<"$WORK/answer") == yes ]] || return 0
    say "the new release changes the journal: copying it first"
    : >"$OPT/$BACK/.needs-copy" # before the copy: else it would be deleted
    stop_daemon
    as_daemon setup keep-journal "$state" ||
        fail "the journal cannot be copied: $(<"$WORK/error")" "Make room in $state (df -h $state). The old release runs on."
}

state_directory() {
    ours setup state-dir --config "$CONFIGURATION"
    cat "$WORK/answer"
}

stop_daemon() {
    STOPPED=yes
    run systemctl stop edge-energy.service
}

# However a run ends that has stopped it.
leave_no_daemon_stopped() {
    [[ $STOPPED == no ]] || systemctl start --no-block edge-energy.service || true
}

# as_daemon ARGUMENT…: ask the command line of RELEASE as the user that the journal belongs to; the answer is in $WORK/answer.
as_daemon() {
    runuser -u edge-energy -- "$RELEASE/bin/edge-energy" "$@" >"$WORK/answer" 2>"$WORK/error" </dev/null
}

start_daemon() {
    local wrong
    [[ $DRY_RUN == no ]] || return 0
    say "waiting until the daemon is healthy, at most $HEALTHY_WITHIN s"
    know_way_back "" ""
    if wrong=$(become_healthy); then
        [[ -e $RELEASE/.healthy ]] || : >"$RELEASE/.healthy"
        STOPPED=no
        forget_journal
    elif [[ ! -e $RELEASE/.healthy && -e $OPT/$BACK/.complete && $BACK != "releases/${RELEASE##*/}" ]]; then
        undo_upgrade "$wrong"
    else
        fail "the daemon does not become healthy: $wrong" \
            "\"systemctl status edge-energy\" and \"journalctl -u edge-energy\" tell more; \"edge-energy doctor\" looks for causes."
    fi
}

# A copy of the journal takes as much room as the journal: it stays only where the way back needs it.
forget_journal() {
    local state
    if [[ ! -e $OPT/previous/.needs-copy ]]; then
        state=$(state_directory)
        as_daemon setup forget-journal "$state" || note "The copy of the journal in $state cannot be deleted: $(<"$WORK/error")"
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
    if ! "$RELEASE/bin/edge-energy" setup healthy --config "$CONFIGURATION" \
        --within "$((HEALTHY_WITHIN - SECONDS + begin))" 2>&1; then
        return 1
    fi
}

undo_upgrade() {
    local wrong=$1 failed=$RELEASE
    step "going back to the release before"
    say "${failed##*/} does not work here: $wrong"
    return_to "$BACK" "$OLDER"
    remove "$failed"
    link_previous "$OLDER" # unless it was that
    rm -f "$UNFINISHED"
    fail "the release ${failed##*/} did not become healthy within $HEALTHY_WITHIN s: $wrong" \
        "Nothing: ${RELEASE##*/} runs as before${ASIDE:+; what the new release recorded meanwhile is in $ASIDE}. Tell the makers what \"journalctl -u edge-energy\" says."
}

# return_to CURRENT PREVIOUS: let the links be these (no PREVIOUS: none), with the journal and the units of that release, and
# start it. What is not the daemon's (broker, databases, Zigbee2MQTT) stays as the newer release has set it up.
return_to() {
    local newer state
    newer=$(link_of current)
    RELEASE=$OPT/$1
    state=$(state_directory)
    stop_daemon
    link_current # before the journal: the newer release must not start with an older one, and change that without a copy
    if ! as_daemon setup put-back-journal "$state"; then
        link "$newer" "$OPT/current"
        fail "the journal cannot be put back: $(<"$WORK/error")" "The release ${newer##*/} goes on. Run this again once that is mended."
    fi
    ASIDE=$(<"$WORK/answer")
    [[ -z $ASIDE ]] || note "The journal is the one from before the upgrade. What the newer release has recorded is in $ASIDE."
    link_previous "$2"
    # shellcheck disable=SC2034 # for put_units
    SOURCE=$RELEASE/share
    put_units
    restart_later edge-energy.service
    start_units
}

go_back() {
    step "going back to the release before"
    know_way_back "$(link_of previous)" "$(link_of current)"
    [[ -n $BACK && -e $OPT/$BACK/.complete ]] || fail "there is no release before this one" "Install the one that you want: its install.sh does it."
    RELEASE=$OPT/$BACK
    if [[ $DRY_RUN == yes ]]; then
        say "would go back to ${RELEASE##*/}"
        return
    fi
    check_configuration
    keep_way_back
    return_to "$BACK" "$OLDER"
    tidy_up
    say "The release ${RELEASE##*/} runs."
    tell_notes
}
