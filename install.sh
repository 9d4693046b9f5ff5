#!/usr/bin/env bash
# Makes an appliance of a Raspberry Pi OS or Debian machine, and looks after it: install, change, upgrade, back, away.
#
# Each step is a function that brings one thing into the state that it should have, and does nothing if it is: so this can
# be interrupted anywhere and run again at any time. The steps' functions are in systemd/*.sh and in the setup.sh of
# each program.
set -euo pipefail
umask 022
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

SOURCE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)

for part in systemd/{lib,options,preflight,release,configuration,units,upgrade,uninstall,summary,repository} \
    {mosquitto,zigbee2mqtt,config/influxdb,config/grafana}/setup; do
    # shellcheck source=/dev/null
    source "$SOURCE/$part.sh"
done

main() {
    read_choices # of the last run
    read_options "$@"
    cd / # programs look for their parts where they are started: nobody but root shall put any there
    prepare
    case $ACTION in
        install) install_appliance ;;
        rollback) go_back ;;
        uninstall) uninstall ;;
    esac
}

install_appliance() {
    step "looking at this machine"
    look_at_machine
    step "users and directories"
    make_users
    keep_choices
    step "release"
    make_release
    step "configuration"
    make_configuration
    step "mosquitto"
    setup_mosquitto
    step "Zigbee"
    if [[ $WITH_ZIGBEE2MQTT == yes && $MODE == hardware ]]; then
        setup_zigbee2mqtt
    else
        remove_zigbee2mqtt
    fi
    step "InfluxDB"
    [[ $WITH_INFLUXDB == no ]] || setup_influxdb
    step "Grafana"
    [[ $WITH_GRAFANA == no ]] || setup_grafana
    step "checking the configuration"
    check_configuration
    step "switching to the release"
    switch_release
    step "units"
    put_units
    step "starting"
    start_units
    step "done"
    tidy_up
    summarise
}

# What an interrupted installation left unfinished is known by a file that only a complete one takes away.
prepare() {
    require_root
    lock_out_others
    WORK=/run/edge-energy-install # for root alone; the remains of a run that was killed go here
    rm -rf "$WORK"
    mkdir -m 0700 "$WORK"
    trap 'rm -rf "$WORK"; leave_no_daemon_stopped' EXIT
    trap 'fail "interrupted" "Run it again: it goes on from here."' INT TERM HUP
    set -o errtrace
    trap 'unforeseen "$BASH_COMMAND"' ERR
    [[ $DRY_RUN == no ]] || return 0
    (umask 077 && : >>"$LOG") || fail "$LOG cannot be written" "Look whether the disk is full (df -h) or mounted read-only."
    if [[ -e $UNFINISHED ]]; then
        # shellcheck disable=SC2034 # for all that is to be started again
        INTERRUPTED=yes
        say "An earlier run was interrupted: going on from there."
    fi
}

main "$@"
exit # what is below, if this file is replaced meanwhile, is not for us
