# shellcheck shell=bash
# The broker: Debian's mosquitto with a drop-in of ours. Defines functions only; needs systemd/lib.sh and preflight.sh.
#
# Globals: SOURCE (has mosquitto/), WORK, MODE, ETC, SECRETS; from install.conf MQTT_WEBSOCKETS=yes (port 9001, for pages in a
# browser) and MQTT_BROKER=own (the owner runs a broker of his own here, and nothing of it is changed).
# shellcheck disable=SC2034,SC2153 # CHANGED is for lib.sh, WORK from install.sh

MOSQUITTO=/etc/mosquitto
MOSQUITTO_DROP_IN=$MOSQUITTO/conf.d/edge-energy.conf
MOSQUITTO_WEBSOCKETS=$MOSQUITTO/conf.d/edge-energy-websockets.conf
MQTT_USERS=(edge-energy zigbee2mqtt devices homeassistant)
TLS_CA_DAYS=7300
TLS_DAYS=3650     # an appliance that nobody updates must not end with its certificate
TLS_RENEW_DAYS=730 # before its end
CLEARING=3         # seconds: what is retained comes at once

# After it: a broker with our users on 1883 and 8883, the daemon's password as its credential.
setup_mosquitto() {
    local users=("${MQTT_USERS[@]}") user
    if [[ ${MODE:?} == simulation ]]; then
        users+=(simulator)
    fi
    for user in "${users[@]}"; do
        secret "mqtt-$user.password" >/dev/null
    done
    link_secret mqtt-edge-energy.password mqtt.password
    if [[ ${MQTT_BROKER:-ours} == own ]]; then
        note "The MQTT broker is your own: make the users ${users[*]} there, with the passwords in $SECRETS/mqtt-*.password;" \
            "what each must be allowed is in $SOURCE/mosquitto/edge-energy.acl, and what the broker should keep in edge-energy.conf beside it."
        remove_mosquitto # what we had set up before that was written
        return
    fi
    _mosquitto_has_room
    packages mosquitto mosquitto-clients openssl
    _mosquitto_is_debians
    [[ $MODE == simulation ]] || _mosquitto_forget_simulation
    CHANGED=no
    _mosquitto_certificates
    _mosquitto_files "${users[@]}"
    ! changed_or_interrupted || _mosquitto_restart
    unit enable mosquitto.service
}

# Take our settings away. Users and their rights stay, for who installs us again.
remove_mosquitto() {
    CHANGED=no
    remove "$MOSQUITTO_DROP_IN" "$MOSQUITTO_WEBSOCKETS"
    if changed_or_interrupted && systemctl is-active --quiet mosquitto.service; then
        run systemctl restart mosquitto.service
        say "mosquitto runs without the appliance's settings. Debian's own are: no passwords, for programs on this machine only."
    fi
}

purge_mosquitto() {
    remove "$MOSQUITTO"/edge-energy.{passwd,acl} "$MOSQUITTO/edge-energy-local.acl"
}

# ------------------------------------------------------------------------------------------- what is there already

# Nobody else's broker on our ports, and nothing in its configuration that contradicts ours.
_mosquitto_has_room() {
    local port conflicts
    for port in $(_mosquitto_ports); do
        require_port "$port" mosquitto.service "$(_mosquitto_choice "Stop that program")"
    done
    conflicts=$(_mosquitto_conflicts)
    if [[ -n $conflicts ]]; then
        fail "this machine's MQTT broker has settings of its own, which ours would contradict:"$'\n'"$conflicts" \
            "$(_mosquitto_choice "Take those lines away")"
    fi
    if [[ -d $MOSQUITTO && ! -e $MOSQUITTO_DROP_IN ]]; then
        note "The MQTT broker was here before. What connects to it needs a user and a password now; a new user:" \
            "sudo mosquitto_passwd $MOSQUITTO/edge-energy.passwd NAME (and see the first lines of $MOSQUITTO/edge-energy.acl)."
    fi
}

_mosquitto_choice() {
    printf '%s and run this again: the broker is then set up as the appliance needs it. Or keep the broker as it is: write the line MQTT_BROKER=own into %s/install.conf, and run this again.' "$1" "$ETC"
}

_mosquitto_ports() {
    printf '%s\n' 1883 8883
    [[ ${MQTT_WEBSOCKETS:-no} != yes ]] || printf '%s\n' 9001
}

# The lines, with file and number, of what only one file may say, and of what would open the broker again.
_mosquitto_conflicts() {
    local file ports
    ports=$(_mosquitto_ports | paste -sd '|')
    for file in "$MOSQUITTO"/mosquitto.conf "$MOSQUITTO"/conf.d/*.conf; do
        [[ -r $file && $file != "$MOSQUITTO_DROP_IN" && $file != "$MOSQUITTO_WEBSOCKETS" ]] || continue
        grep -HnE "^[[:space:]]*(listener[[:space:]]+($ports)\b|(port|bind_address|allow_anonymous|password_file|acl_file|per_listener_settings|plugin|auth_plugin|psk_file|set_tcp_nodelay|autosave_interval|max_queued_messages|max_queued_bytes|max_inflight_messages|message_size_limit|persistent_client_expiration)[[:space:]])" "$file" || true
    done
}

# The drop-in counts on two lines of Debian's own file.
_mosquitto_is_debians() {
    local missing
    [[ $DRY_RUN == no ]] || return 0
    for missing in "include_dir $MOSQUITTO/conf.d" "persistence true"; do
        if ! grep -qE "^[[:space:]]*${missing// /[[:space:]]+}/?[[:space:]]*$" "$MOSQUITTO/mosquitto.conf" "$MOSQUITTO"/conf.d/*.conf; then
            fail "$MOSQUITTO/mosquitto.conf has no line \"$missing\", so that the appliance's settings would not count" \
                "$(_mosquitto_choice "Write that line into it")"
        fi
    done
}

# The simulated house ends with its user: what the broker keeps of it (retained) would be devices that are not there, for
# ever. Cleared as that user, which may do that and nothing else; its password is in a file that root alone can read.
_mosquitto_forget_simulation() {
    local settings=$WORK/simulator ended=0
    grep -qs '^simulator:' "$MOSQUITTO/edge-energy.passwd" || return 0
    unit disable edge-energy-simulator.service
    changed "clearing what the broker keeps of the simulated house" "would clear what the broker keeps of the simulated house"
    [[ $DRY_RUN == no ]] || return 0
    restart_later edge-energy.service # it knows those devices
    mkdir -p "$settings"
    printf -- '-u simulator\n-P %s\n' "$(<"$SECRETS/mqtt-simulator.password")" >"$settings/mosquitto_sub"
    attempt env "XDG_CONFIG_HOME=$settings" mosquitto_sub -t 'zigbee2mqtt/#' -t 'simulator/#' -q 1 --retained-only \
        --remove-retained -F %t -W "$CLEARING" || ended=$?
    rm -rf "$settings"
    [[ $ended == 0 || $ended == 27 ]] || # 27: the time is over, as it should be
        note "The broker did not let itself be cleared of the simulated house ($(last_words)): its devices will be seen as offline."
}

# -------------------------------------------------------------------------------------------------- what we write

# _mosquitto_files USER…: the password file, rights and settings.
_mosquitto_files() {
    local content
    if [[ $DRY_RUN == yes && ! -e $MOSQUITTO/edge-energy.passwd ]]; then
        changed "" "would write $MOSQUITTO/edge-energy.passwd"
    else
        content=$(python3 "$SOURCE/mosquitto/password_file.py" "$MOSQUITTO/edge-energy.passwd" "$SECRETS" \
            --remove simulator --users "$@") ||
            fail "the broker's password file could not be made" "Look whether the files $SECRETS/mqtt-*.password can be read."
        printf '%s\n' "$content" | put - "$MOSQUITTO/edge-energy.passwd" 0600 mosquitto:mosquitto
    fi
    _mosquitto_rights | put - "$MOSQUITTO/edge-energy.acl" 0600 mosquitto:mosquitto
    put "$SOURCE/mosquitto/edge-energy.conf" "$MOSQUITTO_DROP_IN" 0644
    if [[ ${MQTT_WEBSOCKETS:-no} == yes ]]; then
        put "$SOURCE/mosquitto/websockets.conf" "$MOSQUITTO_WEBSOCKETS" 0644
    else
        remove "$MOSQUITTO_WEBSOCKETS"
    fi
}

# Ours, and behind them those of the owner's own users.
_mosquitto_rights() {
    local own=$MOSQUITTO/edge-energy-local.acl
    cat "$SOURCE/mosquitto/edge-energy.acl"
    if [[ -r $own ]]; then
        printf '\n# From %s:\n' "$own"
        cat "$own"
    fi
}

# ------------------------------------------------------------------------------------------------- certificates

# An authority of our own, and a certificate for all names and addresses of this machine; made anew when it nears its end,
# when a name or a fixed address is not in it, or when files are damaged or do not belong together. An address that a
# router lends (DHCP) is no reason: the broker would be restarted with every other one. Clients better use the name.
_mosquitto_certificates() {
    local tls=$ETC/tls names wanted
    directory "$tls" 0755
    names=$(_tls_names)
    wanted=$(_tls_names permanent)
    if ! _tls_belong_together "$tls/ca.pem" "$tls/ca.key"; then
        changed "making an authority for certificates: $tls/ca.pem" "would make an authority for certificates: $tls/ca.pem"
        _tls_make ca.pem 0644 ca.key 0600 root:root -days "$TLS_CA_DAYS" -subj "/O=$(uname -n)/CN=edge-energy authority" \
            -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
    fi
    if ! _tls_is_good "$wanted"; then
        changed "making the broker's certificate: $tls/server.pem, for $names" "would make the broker's certificate: $tls/server.pem"
        _tls_make server.pem 0644 server.key 0640 root:mosquitto -CA "$tls/ca.pem" -CAkey "$tls/ca.key" \
            -days "$TLS_DAYS" -subj "/CN=$(uname -n)" -addext "subjectAltName=$names" \
            -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
            -addext extendedKeyUsage=serverAuth
    fi
}

# _tls_make CERTIFICATE MODE KEY MODE OWNER OPTION…: the key first, so that a certificate never lacks its own.
_tls_make() {
    local tls=$ETC/tls certificate=$1 mode=$2 key=$3 key_mode=$4 owner=$5 work=$ETC/tls/.new
    shift 5
    [[ $DRY_RUN == no ]] || return 0
    rm -rf "$work"
    install -d -m 0700 "$work"
    run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/key" -out "$work/pem" "$@"
    put "$work/key" "$tls/$key" "$key_mode" "$owner"
    put "$work/pem" "$tls/$certificate" "$mode"
    rm -rf "$work"
}

# The names under which devices may know this machine, as a subjectAltName; with "permanent", without lent addresses.
_tls_names() {
    local host address
    host=$(uname -n)
    printf 'DNS:localhost,DNS:%s' "$host"
    [[ $host == *.* ]] || printf ',DNS:%s.local' "$host"
    printf ',IP:127.0.0.1'
    for address in $(ip -4 -oneline address show scope global "$@" | awk '{sub("/.*", "", $4); print $4}' | sort -u); do
        printf ',IP:%s' "$address"
    done
}

# _tls_is_good NAMES: whether the broker's certificate can be used, and has all these names.
_tls_is_good() {
    local tls=$ETC/tls names name
    _tls_belong_together "$tls/server.pem" "$tls/server.key" || return 1
    openssl verify -CAfile "$tls/ca.pem" "$tls/server.pem" >/dev/null 2>&1 || return 1
    openssl x509 -in "$tls/server.pem" -noout -checkend $((TLS_RENEW_DAYS * 86400)) >/dev/null || return 1
    names=$(openssl x509 -in "$tls/server.pem" -noout -ext subjectAltName | tail -n 1 | sed 's/IP Address:/IP:/g; s/ //g')
    for name in ${1//,/ }; do
        [[ ,$names, == *",$name,"* ]] || return 1
    done
}

# _tls_belong_together CERTIFICATE KEY: whether both can be read, and the key is the certificate's.
_tls_belong_together() {
    local public
    public=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) && [[ $public == "$(openssl pkey -in "$2" -pubout 2>/dev/null)" ]]
}

# ------------------------------------------------------------------------------------------------------ the end

# Now and not at the end of everything, so that what is wrong with it is told here. What it keeps, it saves when it stops.
_mosquitto_restart() {
    [[ $DRY_RUN == no ]] || return 0
    say "restarting mosquitto"
    attempt systemctl reset-failed mosquitto.service || true # systemd refuses the sixth start within ten seconds
    if ! attempt systemctl restart mosquitto.service; then
        fail "mosquitto does not start: $(_mosquitto_last_words)" \
            "Its log is /var/log/mosquitto/mosquitto.log. Look into the files of $MOSQUITTO/conf.d that are not the appliance's."
    fi
}

_mosquitto_last_words() {
    {
        systemctl show --property Result mosquitto.service
        journalctl --unit mosquitto.service --lines 5 --no-pager --output cat 2>/dev/null | grep 'Error:' || true
        tail -n 5 /var/log/mosquitto/mosquitto.log 2>/dev/null | grep 'Error:' || true
    } | tail -n 2
}
