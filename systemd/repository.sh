# shellcheck shell=bash
# Package repositories of others, each trusted with one pinned signing key and nothing else.
# Needs lib.sh. Defines functions only; nothing happens when it is sourced.

APT=${APT:-/etc/apt}

# repository NAME URL SUITE COMPONENT KEY_URL FINGERPRINT: let apt install packages from this repository.
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
    packages gpg ca-certificates
    if ! _trusts "$keyring" "$fingerprint" || [[ -n $(find "$keyring" -mtime +90) ]]; then
        _fetch_key "$name" "$key_url" "$fingerprint" "$keyring"
    fi
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
    remove "$APT/sources.list.d/edge-energy-$1.sources" "$APT/keyrings/edge-energy-$1.gpg"
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

# Fetch the lists of this repository alone, unless apt has them already; a signature that is wrong ends the installation.
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
    fail "the repository $name ($url) cannot be used: $(last_words)" "$remedy"
}

# The lists that apt has of a repository: their names begin with its address.
_lists_of() {
    local prefix=${1#*://}
    find /var/lib/apt/lists -maxdepth 1 -name "${prefix//\//_}_*Packages*" -print -quit
}
