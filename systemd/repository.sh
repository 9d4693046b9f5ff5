# shellcheck shell=bash
# Package repositories of others, each trusted with one pinned signing key and nothing else.
# Needs lib.sh. Defines functions only; nothing happens when it is sourced.

APT=${APT:-/etc/apt}

# repository NAME URL SUITE COMPONENT KEY_URL FINGERPRINT PACKAGE…: let apt install these packages, and no others, from
# this repository. Where the operator has set it up himself, it is used as it is: apt takes one key for an address.
#
# The file at KEY_URL may hold several keys (vendors leave old, revoked ones in it): only the one with this full
# fingerprint is kept, and signs for this repository alone (Signed-By). It is fetched again after three months: vendors
# prolong their keys and add signing subkeys below the same fingerprint.
repository() {
    local name=$1 url=${2%/} suite=$3 component=$4 key_url=$5 fingerprint=${6//[[:space:]]/}
    local keyring=$APT/keyrings/edge-energy-$name.gpg sources=$APT/sources.list.d/edge-energy-$name.sources
    fingerprint=${fingerprint^^}
    if [[ ! $fingerprint =~ ^[0-9A-F]{40}$ ]]; then
        fail "the fingerprint \"$6\" for the repository $url is not one" "Give all 40 hexadecimal digits."
    fi
    if _is_there_already "$name" "$url" "$suite"; then
        return
    fi
    packages gpg ca-certificates
    if ! _trusts "$keyring" "$fingerprint" || [[ -n $(find "$keyring" -mtime +90) ]]; then
        _fetch_key "$name" "$key_url" "$fingerprint" "$keyring"
    fi
    _pin "$name" "$url" "${@:7}"
    put - "$sources" 0644 <<SOURCES
# Written by edge-energy's install.sh.
Types: deb
URIs: $url
Suites: $suite
Components: $component
Signed-By: $keyring
SOURCES
    if [[ $DRY_RUN == no ]]; then
        _update_lists "$name" "$url" "$sources" "$key_url"
    fi
}

# forget_repository NAME: take it away again.
forget_repository() {
    remove "$APT/sources.list.d/edge-energy-$1.sources" "$APT/preferences.d/edge-energy-$1" "$APT/keyrings/edge-energy-$1.gpg"
}

# purge_packages NAME…: remove them with their settings, waiting for another program that installs packages.
purge_packages() {
    [[ $DRY_RUN == no ]] || return 0
    _apt purge --yes "$@" || _apt_failed "the Debian packages $* cannot be removed"
}

# _is_there_already NAME URL SUITE: whether a source of the operator's is this repository. Ours beside it, with its other
# key, would leave apt useless for the whole machine.
_is_there_already() {
    local others places
    others=$(_sources_of_others)
    grep -qxF "$2/dists/$3/InRelease" <<<"$others" || return 1
    forget_repository "$1"
    places=$(grep -lsF "$2" "$APT"/sources.list "$APT"/sources.list.d/* | xargs || true)
    note "The package repository $2 was set up on this machine already (${places:-as apt says}): it is used as it is, with the key that is named there."
}

# The addresses of what apt would fetch first from all sources but ours.
_sources_of_others() {
    local others
    others=$(mktemp -d)
    cp "$APT"/sources.list.d/*.{list,sources} "$others" 2>/dev/null || true # of one kind or both there may be none
    rm -f "$others"/edge-energy-*
    apt-get -o "Dir::Etc::SourceParts=$others" update --print-uris 2>/dev/null | awk -F "'" '$2 ~ /InRelease$/ { print $2 }'
    rm -rf "$others"
}

# _pin NAME URL PACKAGE…: nothing else on this machine comes from there, whatever version is offered. Not where the same
# server has other packages, too, as a mirror in a company has: apt tells repositories apart by their servers only.
_pin() {
    local name=$1 host=${2#*://} others
    shift 2
    host=${host%%[/:]*}
    others=$(_sources_of_others)
    if grep -qE "^[a-z+]+://([^/@]*@)?${host//./[.]}[:/]" <<<"$others"; then
        remove "$APT/preferences.d/edge-energy-$name"
        return
    fi
    put - "$APT/preferences.d/edge-energy-$name" 0644 <<PREFERENCES
# Written by edge-energy's install.sh: of this server, only what was asked for.
Package: *
Pin: origin "$host"
Pin-Priority: -1

Package: $*
Pin: origin "$host"
Pin-Priority: 500
PREFERENCES
}

# Whether this file holds the key with this fingerprint and no other.
_trusts() {
    [[ -s $1 && $(_fingerprints "$1") == "$2" ]]
}

# The fingerprints of the primary keys in a file, in one line.
_fingerprints() {
    local home
    home=$(mktemp -d) # root's own keys and settings have no part in this
    _gpg "$home" --with-colons --show-keys "$1" 2>/dev/null |
        awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { printf "%s%s", sep, $10; sep = " "; primary = 0 }'
    rm -rf "$home"
}

_gpg() {
    gpg --no-options --batch --no-autostart --homedir "$@"
}

_fetch_key() {
    local name=$1 key_url=$2 fingerprint=$3 keyring=$4 found work
    if [[ $DRY_RUN == yes ]]; then
        say "would fetch the signing key of the repository $name from $key_url and keep it if it is $fingerprint"
        return
    fi
    work=$(mktemp -d)
    # apt's own downloader: it goes the way that the packages will go (proxy, certificates), and is always there.
    if ! attempt /usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=2 \
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 download-file "$key_url" "$work/key"; then
        rm -rf "$work"
        fail "the signing key of the repository $name cannot be fetched from $key_url: $(last_words)" \
            "Look at cable or Wi-Fi, and at this machine's date (timedatectl); then run this again."
    fi
    found=$(_fingerprints "$work/key" || true)
    if [[ " $found " != *" $fingerprint "* ]]; then
        rm -rf "$work"
        fail "the signing key at $key_url is not the one that is known: expected $fingerprint, found ${found:-no key at all}" \
            "Nothing was taken from there. Somebody may be in between, or the vendor has changed the key: look for a newer release of edge-energy, which knows the new one."
    fi
    if ! { _gpg "$work" --import "$work/key" && _gpg "$work" --output "$work/one" --export "$fingerprint"; } >>"$LOG" 2>&1 || ! _trusts "$work/one" "$fingerprint"; then
        rm -rf "$work"
        fail "gpg cannot read the signing key from $key_url" "The whole output is at the end of $LOG."
    fi
    put "$work/one" "$keyring" 0644
    touch "$keyring" # its age is that of the last look, also where nothing had changed
    rm -rf "$work"
}

# Fetch the lists of this repository alone, unless apt has them already. If that fails, the source goes again: with it, no
# `apt update` of the operator's would succeed any more.
_update_lists() {
    local name=$1 url=$2 sources=$3 key_url=$4 remedy
    [[ -z $(_lists_of "$url") ]] || return 0
    if _apt update --error-on=any -o "Dir::Etc::SourceList=$sources" -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Get::List-Cleanup=0; then
        return
    fi
    remedy="The package server cannot be reached or cannot serve. Look at cable or Wi-Fi; then run this again."
    if printed 'not signed|NO_PUBKEY|BADSIG|invalid|verif|EXPKEYSIG|hash sum|unexpected size|missing key|does not have a release file'; then
        remedy="Its lists do not bear the signature of the known key. Nothing was installed from there. Run this again later; if it stays so, do not install by force: somebody may have changed the packages."
    fi
    if printed 'not valid yet|expired since'; then
        remedy="This machine's clock may be wrong ($(date)): see \"timedatectl\"."
    fi
    remove "$sources" "$APT/preferences.d/edge-energy-$name"
    fail "the repository $name ($url) cannot be used: $(last_words)" "$remedy"
}

# The lists that apt has of a repository: their names begin with its address.
_lists_of() {
    local prefix=${1#*://}
    find /var/lib/apt/lists -maxdepth 1 -name "${prefix//\//_}_*Packages*" -print -quit
}
