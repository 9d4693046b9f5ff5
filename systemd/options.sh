# shellcheck shell=bash
# What can be chosen, and what was chosen the last time.
# shellcheck disable=SC2034 # read by the other parts

MODE=hardware PORT=8000
WITH_INFLUXDB=no WITH_ZIGBEE2MQTT=no WITH_ZIGPY=no WITH_GRAFANA=no WITH_KAFKA=no WITH_PUBSUB=no
# For these there is no option: whoever wants them writes them into install.conf (see mosquitto/setup.sh).
MQTT_BROKER=ours MQTT_WEBSOCKETS=no
CHOICES=(MODE PORT MQTT_BROKER MQTT_WEBSOCKETS WITH_INFLUXDB WITH_ZIGBEE2MQTT WITH_ZIGPY WITH_GRAFANA WITH_KAFKA WITH_PUBSUB)

ACTION=install PURGE=no YES=no DRY_RUN=no
OTHERS_PORTS=(1883 8883 9001 8086 3000) # of MQTT, InfluxDB and Grafana
# An InfluxDB that is there already; its token comes from a file or from $INFLUXDB_TOKEN, never from the command line.
INFLUXDB_URL=${INFLUXDB_URL:-} INFLUXDB_ORG=${INFLUXDB_ORG:-} INFLUXDB_BUCKET=${INFLUXDB_BUCKET:-}
INFLUXDB_TOKEN=${INFLUXDB_TOKEN:-} INFLUXDB_TOKEN_FILE=""

usage() {
    cat <<'END'
Usage: sudo ./install.sh [OPTION]…

Makes this machine an energy appliance. Asks nothing; can be run again at any time; what is chosen stays chosen.

  --hardware            real devices (the default)
  --simulation          a simulated house instead, to try everything out
  --with-influxdb       an InfluxDB 2 on this machine, and measurements delivered to it; or, to use one that exists:
      --influxdb-url URL --influxdb-org NAME --influxdb-bucket NAME --influxdb-token-file FILE
  --with-zigbee2mqtt    Zigbee2MQTT for a Zigbee dongle; or
  --with-zigpy          the dongle for the daemon itself
  --with-grafana        Grafana with dashboards
  --with-kafka          what delivering to Kafka needs
  --with-pubsub         what delivering to Google Pub/Sub needs
  --port PORT           of the HTTP server (8000)

  --dry-run             say what would be done, and do nothing
  --upgrade             install the release of this directory over an older one (also what a plain run does)
  --rollback            go back to the release before
  --uninstall           remove the programs; configuration, secrets and all data stay
  --uninstall --purge --yes      remove these, too
  --help                this text
END
}

# read_choices: of the last run, from install.conf, as long as they are what they may be.
read_choices() {
    local name value
    [[ -r $ETC/install.conf ]] || return 0
    while IFS='=' read -r name value; do
        if [[ " ${CHOICES[*]} " == *" $name "* && $value =~ ^[a-z0-9]+$ ]]; then
            printf -v "$name" '%s' "$value"
        fi
    done <"$ETC/install.conf"
}

keep_choices() {
    local name
    {
        printf '# What was chosen when install.sh ran; an option changes it.\n'
        for name in "${CHOICES[@]}"; do
            printf '%s=%s\n' "$name" "${!name}"
        done
    } | put - "$ETC/install.conf" 0644
}

read_options() {
    local given=" $* "
    while [[ $# -gt 0 ]]; do
        case $1 in
            --hardware | --simulation) MODE=${1#--} ;;
            --with-influxdb) WITH_INFLUXDB=yes ;;
            --with-zigbee2mqtt) WITH_ZIGBEE2MQTT=yes WITH_ZIGPY=no ;;
            --with-zigpy) WITH_ZIGPY=yes WITH_ZIGBEE2MQTT=no ;;
            --with-grafana) WITH_GRAFANA=yes ;;
            --with-kafka) WITH_KAFKA=yes ;;
            --with-pubsub) WITH_PUBSUB=yes ;;
            --port | --influxdb-url | --influxdb-org | --influxdb-bucket | --influxdb-token-file)
                [[ $# -gt 1 ]] || wrong_usage "$1 wants a value"
                read_value "$1" "$2"
                [[ $1 == --port ]] || WITH_INFLUXDB=yes
                shift
                ;;
            --dry-run) DRY_RUN=yes ;;
            --upgrade) ACTION=install ;;
            --rollback | --uninstall) ACTION=${1#--} ;;
            --purge) PURGE=yes ;;
            --yes) YES=yes ;;
            --help | -h) usage && exit 0 ;;
            *) wrong_usage "there is no option $1" ;;
        esac
        shift
    done
    check_options "$given"
}

read_value() {
    local name=${1#--}
    name=${name//-/_}
    printf -v "${name^^}" '%s' "$2"
}

check_options() {
    if [[ $1 == *" --with-zigbee2mqtt "* && $1 == *" --with-zigpy "* ]]; then
        wrong_usage "one dongle serves one program: --with-zigbee2mqtt or --with-zigpy"
    elif [[ $1 == *" --hardware "* && $1 == *" --simulation "* ]]; then
        wrong_usage "--hardware or --simulation, not both"
    elif [[ $1 =~ " --"(rollback|uninstall|upgrade)" "(.*" ")?--(rollback|uninstall|upgrade)" " && ${BASH_REMATCH[1]} != "${BASH_REMATCH[3]}" ]]; then
        wrong_usage "--${BASH_REMATCH[1]} or --${BASH_REMATCH[3]}, not both"
    elif [[ $1 == *" --with-zig"* && $MODE == simulation && $1 != *" --simulation "* ]]; then
        wrong_usage "this appliance simulates its devices, and a dongle is a real one: add --hardware"
    elif [[ $PURGE == yes && $ACTION != uninstall ]]; then
        wrong_usage "--purge belongs to --uninstall"
    elif [[ $PURGE == yes && $YES == no && $DRY_RUN == no ]]; then
        wrong_usage "--purge deletes every measurement, the configuration and all secrets. If you want that, add --yes"
    fi
    if [[ $1 == *" --with-zig"* && $MODE == simulation ]]; then
        note "The simulation uses no dongle: what it needs is installed once you choose --hardware."
    fi
    [[ $ACTION != install ]] || check_port
    check_choices
    PORT_GIVEN=no
    [[ $1 != *" --port "* ]] || PORT_GIVEN=yes
    if [[ -n $INFLUXDB_TOKEN_FILE ]]; then
        [[ -r $INFLUXDB_TOKEN_FILE ]] || wrong_usage "--influxdb-token-file $INFLUXDB_TOKEN_FILE cannot be read"
        INFLUXDB_TOKEN=$(<"$INFLUXDB_TOKEN_FILE")
    fi
}

check_port() {
    if ! [[ $PORT =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535 ]]; then
        wrong_usage "--port $PORT: a port is a number from 1024 to 65535"
    elif [[ $PORT -lt 1024 ]]; then
        wrong_usage "--port $PORT: the daemon may not listen on ports below 1024; choose one such as --port 8080"
    elif [[ " ${OTHERS_PORTS[*]} " == *" $PORT "* ]]; then
        wrong_usage "--port $PORT is that of another program of the appliance; choose one such as --port 8080"
    fi
}

# What somebody wrote into install.conf.
check_choices() {
    local name may
    for name in "${CHOICES[@]}"; do
        case $name in
            PORT) continue ;;
            MODE) may="hardware or simulation" ;;
            MQTT_BROKER) may="ours or own" ;;
            *) may="yes or no" ;;
        esac
        [[ ${!name} == "${may% or *}" || ${!name} == "${may#* or }" ]] ||
            wrong_usage "$ETC/install.conf: $name=${!name}: it is $may"
    done
    if [[ $WITH_ZIGBEE2MQTT == yes && $WITH_ZIGPY == yes ]]; then
        wrong_usage "$ETC/install.conf: one dongle serves one program: WITH_ZIGBEE2MQTT=yes or WITH_ZIGPY=yes, not both"
    fi
}

wrong_usage() {
    printf 'install.sh: %s.\nTry: ./install.sh --help\n' "$1" >&2
    exit 2
}
