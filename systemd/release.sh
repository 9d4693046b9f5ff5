# shellcheck shell=bash
# A release: one directory with a virtual environment of its own and a copy of everything that it was installed from.
# It is made beside the running one; `current` names the one that runs, `previous` the one before.

OPT=/opt/edge-energy
SHIPPED=(edge_energy simulator config systemd mosquitto zigbee2mqtt install.sh pyproject.toml README.md CHANGELOG.md LICENSE)

# release_id: set RELEASE, the directory in which the release with these sources and choices is, or will be. Different
# choices, or another Python, are different releases: one that is there is never changed.
release_id() {
    local version hash
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$SOURCE/edge_energy/__init__.py")
    [[ -n $version ]] || fail "$SOURCE is no complete copy of the program" "Get it again, and start install.sh there."
    hash=$({
        cd "$SOURCE" || exit
        shipped_files | sort -z | xargs -0 sha256sum
        lock_files
        python3 -c 'import sys; print(sys.version_info[:2])' 2>/dev/null || printf 'no Python yet'
    } | sha256sum)
    RELEASE=$OPT/releases/$version+${hash:0:8}
}

shipped_files() {
    find "${SHIPPED[@]}" -type f ! -path '*/__pycache__/*' ! -path '*/node_modules/*' -print0
}

lock_files() {
    printf 'appliance.txt\n'
    [[ $WITH_KAFKA == no ]] || printf 'kafka.txt\n'
    [[ $WITH_PUBSUB == no ]] || printf 'pubsub.txt\n'
    [[ $WITH_ZIGPY == no ]] || printf 'zigbee.txt\n'
}

# A virtual environment cannot be moved, so it is made in its place; until `.complete` lies in it, it counts as nothing.
make_release() {
    use_the_disk
    packages python3 python3-venv
    release_id
    [[ ! -e $RELEASE/.complete ]] || return 0
    changed "making the release ${RELEASE##*/}: this takes a minute, on a Raspberry Pi some more" "would make the release $RELEASE"
    [[ $DRY_RUN == no ]] || return 0
    rm -rf "$RELEASE"
    run python3 -m venv "$RELEASE"
    copy_sources
    install_dependencies
    install_program
    run "$RELEASE/bin/python" -m pip uninstall --quiet --yes pip # nothing of it changes any more
    sync -f "$RELEASE"
    : >"$RELEASE/.complete"
}

# What is downloaded and unpacked can be more than there is memory, and /tmp may be memory.
use_the_disk() {
    [[ $DRY_RUN == no ]] || return 0
    export TMPDIR=$OPT/cache/tmp # the cache is removed when everything is installed
    rm -rf "$TMPDIR"
    mkdir -p "$TMPDIR"
}

copy_sources() {
    mkdir "$RELEASE/share"
    (cd "$SOURCE" && shipped_files) |
        tar -C "$SOURCE" --null --verbatim-files-from --no-recursion --owner=0 --group=0 --mode='u=rwX,go=rX' -T - -cf - |
        tar -C "$RELEASE/share" --no-same-owner -xf - ||
        fail "$SOURCE cannot be copied to $RELEASE/share" "Look whether the disk is full: df -h $OPT"
}

# Only wheels, and only those whose hash is in the lock file.
install_dependencies() {
    local lock
    for lock in $(lock_files); do
        pip_install --require-hashes --only-binary :all: -r "$SOURCE/config/lock/$lock"
    done
}

# What builds a wheel of the program lies outside the environment, and is gone afterwards.
install_program() {
    pip_install --require-hashes --only-binary :all: -r "$SOURCE/config/lock/build.txt" --target "$TMPDIR/build"
    PYTHONPATH=$TMPDIR/build pip_install --no-build-isolation --no-index "$RELEASE/share"
    rm -rf "$TMPDIR/build"
}

pip_install() {
    # A cache of root's is used; else what was fetched is kept until the installation is complete.
    [[ -d ${HOME:-/root}/.cache/pip ]] || export PIP_CACHE_DIR=$OPT/cache
    if attempt "$RELEASE/bin/python" -m pip --disable-pip-version-check --no-input --retries 2 install --quiet --no-deps \
        --no-warn-script-location --root-user-action=ignore "$@"; then
        return
    fi
    local remedy="The whole output is at the end of $LOG."
    if printed 'no space left'; then
        remedy="Make room: \"df -h\" shows what is full."
    elif printed 'do not match the hashes|hash mismatch'; then
        remedy="What came is not what was tested: something on the way changes downloads. Try another network; if it stays so, tell the makers."
    elif printed 'certificate verify failed'; then
        remedy="Something on the way reads your connections, or the clock is wrong ($(date)). See \"timedatectl\"."
    elif printed 'newconnectionerror|name resolution|connection (refused|reset|broken)|timed out|unreachable|could not find a version|proxyerror'; then
        remedy="The Python package server cannot be reached. Look at cable or Wi-Fi and at \"curl -I https://pypi.org\"; then run this again."
    fi
    fail "the Python packages cannot be installed: $(last_words)" "$remedy"
}

# link TARGET NAME: make NAME a symbolic link to TARGET, in one go.
link() {
    [[ $(readlink "$2" 2>/dev/null || true) != "$1" ]] || return 0
    changed "$2 is now $1" "would link $2 to $1"
    [[ $DRY_RUN == no ]] || return 0
    rm -f "$2.new"
    ln -s "$1" "$2.new"
    mv -T "$2.new" "$2"
}

# named current|previous: the directory of that release; nothing if there is none.
named() {
    [[ ! -e $OPT/$1 ]] || readlink -f "$OPT/$1"
}

# The releases that nothing names any more, and what was fetched to make them.
remove_old_releases() {
    local release
    for release in "$OPT"/releases/*; do
        if [[ -d $release && $release != "$(named current)" && $release != "$(named previous)" ]]; then
            remove "$release"
        fi
    done
    [[ ! -e $OPT/cache ]] || rm -rf "$OPT/cache"
}
