# shellcheck shell=bash
# What every part of install.sh is made of: words for the user, files that are written only if they differ, packages,
# secrets, units. Defines functions and their defaults only; nothing happens when it is sourced.
#
# A function that fails ends the installation. In `name=$(secret …)` it does so only if `name` was declared before:
# `local name=$(…)` hides the failure.

shopt -s lastpipe # what `… | put -` learns must reach the caller

: "${ETC:=/etc/edge-energy}" "${SECRETS:=/etc/edge-energy/secrets}" "${DRY_RUN:=no}"
: "${LOG:=/var/log/edge-energy-install.log}"
: "${LOCK_TIMEOUT:=120}" # seconds that others may install packages before we do
LOCKED='could not get lock|unable to acquire the dpkg|another process using it|lock was locked by'
LAST_OUTPUT=1      # where in the log the output of the last command begins
CHANGED=no         # `put` and the others set it; a caller that wants to know resets it before
STEP="the options" # what is being done, for messages
NOTES=()           # repeated at the end
RESTART=()         # units to start again at the end
LISTS_FRESH=no     # whether apt's lists were fetched in this run
INTERRUPTED=no     # whether the last run was
UNFINISHED=$ETC/.unfinished # exists from the first change until everything is done; see also upgrade.sh

# ---------------------------------------------------------------------------------------------------- words

# One line for the user.
say() {
    printf '%s\n' "$*"
}

# A line that is repeated at the end, under "To know".
note() {
    NOTES+=("$*")
}

# Announce the next step; failures name it.
step() {
    STEP=$1
    printf '== %s\n' "$STEP"
}

# fail WHAT REMEDY: say in which step what happened and what to do, and end.
fail() {
    [[ ! -d ${WORK:-} ]] || : >"$WORK/told"
    {
        tell_notes
        printf '\ninstall.sh stopped. Nothing is half-written: once mended, run it again and it goes on from here.\n'
        printf '  Step:       %s\n  Happened:   %s\n  What to do: %s\n' "$STEP" "$1" "$2"
    } >&2
    exit 1
}

# unforeseen COMMAND: it failed and nobody handles that. Where `fail` ended a subshell, all is told.
unforeseen() {
    if [[ $BASH_SUBSHELL -eq 0 && ! -e $WORK/told ]]; then
        fail "\"$1\" failed, with the words above if there are any" "Look whether the disk is full (df -h) or mounted read-only."
    fi
}

# The lines of `note`, if there are any.
tell_notes() {
    [[ ${#NOTES[@]} -gt 0 ]] || return 0
    printf '\nTo know:\n'
    printf '  - %s\n' "${NOTES[@]}"
}

# changed WHAT WOULD: say that something is being changed on this machine, or with --dry-run the other sentence. Called
# before the change, so that a run that was interrupted is known as one.
changed() {
    if [[ $DRY_RUN == yes ]]; then
        say "${2:-would have: $1}"
        return
    fi
    # shellcheck disable=SC2034 # for the callers in other files
    CHANGED=yes
    mkdir -p "$ETC"
    [[ -e $UNFINISHED ]] || : >"$UNFINISHED"
    say "$1"
}

# Whether what depends on the last changes must be told of them: nobody knows what an interrupted run had told it.
changed_or_interrupted() {
    [[ $CHANGED == yes || $INTERRUPTED == yes ]]
}

# ---------------------------------------------------------------------------------------------------- commands

# run COMMAND…: its output goes to the log; if it fails, its last lines are shown. Never put a secret into its arguments:
# they are logged, and everybody can see them while it runs.
run() {
    if [[ $DRY_RUN == yes ]]; then
        say "would run: $*"
        return
    fi
    if ! attempt "$@"; then
        fail "\"$*\" failed: $(last_words)" "The whole output is at the end of $LOG."
    fi
}

# attempt COMMAND…: as `run`, but the caller handles the failure; `last_words` tells it.
attempt() {
    printf '$ %s\n' "$*" >>"$LOG"
    LAST_OUTPUT=$(($(wc -c <"$LOG") + 1))
    "$@" >>"$LOG" 2>&1 </dev/null
}

# The last lines of what the last `attempt` printed.
last_words() {
    local lines
    lines=$(tail -c "+$LAST_OUTPUT" "$LOG" | grep -v '^[[:space:]]*$' | tail -n 4 || true)
    printf '%s' "${lines:-it printed nothing}"
}

# Whether what the last `attempt` printed has this extended regular expression.
printed() {
    tail -c "+$LAST_OUTPUT" "$LOG" | grep -qiE -- "$1"
}

# ---------------------------------------------------------------------------------------------------- files

# put SOURCE TARGET MODE [OWNER:GROUP]: make TARGET have the content of the file SOURCE ("-": of standard input), this
# mode and owner. It is replaced in one go, and only if anything differs; then CHANGED=yes. Makes missing directories.
put() {
    local source=$1 target=$2 mode=$3 owner=${4:-root:root} content="" fresh
    if [[ $source == - ]]; then
        content=$(cat && printf x) # the x keeps the newlines at the end
        content=${content%x}
    elif [[ ! -r $source ]]; then
        fail "$source is missing, so $target cannot be written" "Get a complete copy of the program and start it there."
    fi
    if [[ -f $target && ! -L $target && $(stat -c '%a %U:%G' "$target") == "${mode#0} $owner" ]] &&
        _content "$source" "$content" | cmp -s - "$target"; then
        return
    fi
    changed "wrote $target" "would write $target"
    [[ $DRY_RUN == no ]] || return 0
    fresh=$(dirname "$target")/.$(basename "$target").new # one name: the remains of an interrupted run are overwritten
    if ! { mkdir -p "$(dirname "$target")" && rm -f "$fresh" && (umask 077 && _content "$source" "$content" >"$fresh") &&
        chown "$owner" "$fresh" && chmod "$mode" "$fresh" && sync "$fresh" && mv -fT "$fresh" "$target"; } 2>>"$LOG"; then
        fail "$target cannot be written: $(tail -n 1 "$LOG")" \
            "Look whether the disk is full (df -h $(dirname "$target")) or mounted read-only."
    fi
}

_content() {
    if [[ $1 == - ]]; then printf '%s' "$2"; else cat -- "$1"; fi
}

# directory PATH MODE [OWNER:GROUP]: make it, or give an existing one this mode and owner.
directory() {
    local path=$1 mode=$2 owner=${3:-root:root}
    if [[ -d $path && $(stat -c '%a %U:%G' "$path") == "${mode#0} $owner" ]]; then
        return
    fi
    changed "made the directory $path" "would make the directory $path"
    [[ $DRY_RUN == no ]] || return 0
    install -d -m "$mode" -o "${owner%:*}" -g "${owner#*:}" "$path" ||
        fail "the directory $path cannot be made" "Look whether the disk is full (df -h) or mounted read-only."
}

# remove PATH…: delete files, links and whole directories that are there, and say so.
remove() {
    local path
    for path in "$@"; do
        if [[ -e $path || -L $path ]]; then
            changed "removed $path" "would remove $path"
            [[ $DRY_RUN == yes ]] || rm -rf -- "$path"
        fi
    done
}

# ---------------------------------------------------------------------------------------------------- packages

# packages NAME…: install those Debian packages that are not installed.
packages() {
    local name missing=()
    for name in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true) != installed ]]; then
            missing+=("$name")
        fi
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    changed "installing the Debian packages ${missing[*]}" "would install the Debian packages ${missing[*]}"
    [[ $DRY_RUN == no ]] || return 0
    if [[ -n $(dpkg --audit 2>/dev/null) ]]; then # an interrupted installation, perhaps our own
        _configure_the_rest
    fi
    local begin
    begin=$(($(wc -c <"$LOG") + 1))
    if [[ $LISTS_FRESH == no ]]; then
        # Old lists may do, and another repository on this machine may be away for ever: the installation decides.
        _apt update --error-on=any && LISTS_FRESH=yes
    fi
    if ! _apt install --yes --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"; then
        LAST_OUTPUT=$begin
        _apt_failed "the Debian packages ${missing[*]} cannot be installed"
    fi
}

# dpkg itself does not wait for others, as apt-get does.
_configure_the_rest() {
    local until=$((SECONDS + LOCK_TIMEOUT))
    until attempt env DEBIAN_FRONTEND=noninteractive dpkg --configure -a; do
        if [[ $SECONDS -ge $until ]] || ! printed "$LOCKED"; then
            _apt_failed "dpkg --configure -a"
        fi
        sleep 1
    done
}

_apt() {
    attempt env DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none apt-get -q \
        -o DPkg::Lock::Timeout="$LOCK_TIMEOUT" -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}

_apt_failed() {
    local remedy="The whole output is at the end of $LOG. \"sudo apt-get update\" shows whether Debian's packages can be had."
    if printed "$LOCKED"; then
        remedy="Another program is installing packages. Wait until it is done, then run this again."
    elif printed 'no space left|enough free space'; then
        remedy="Make room: \"df -h\" shows what is full, \"sudo apt-get clean\" frees what apt keeps."
    elif printed 'not valid yet|certificate.*(expired|not yet|activat)'; then
        remedy="This machine's clock is wrong ($(date)): see \"timedatectl\"."
    elif printed 'could not resolve|temporary failure|could not connect|unable to connect|connection (failed|timed out|refused)|unreachable'; then
        remedy="The package server cannot be reached. Look at cable or Wi-Fi and at \"ping -c 1 deb.debian.org\"; then run this again."
    fi
    fail "$1: $(last_words)" "$remedy"
}

# ---------------------------------------------------------------------------------------------------- secrets

# secret NAME [LENGTH]: make the file $SECRETS/NAME of letters and digits, if it is not there; print its path.
secret() {
    local path=$SECRETS/$1 length=${2:-32} letters
    if [[ ! -s $path ]]; then
        letters=$(head -c "$((length * 16))" /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9')
        printf '%s\n' "${letters:0:length}" | put - "$path" 0600 >&2
    fi
    printf '%s\n' "$path"
}

# link_secret NAME CREDENTIAL: let systemd hand the secret NAME to the daemon as CREDENTIAL.
link_secret() {
    if [[ $DRY_RUN == yes && ! -e $SECRETS/$1 ]]; then
        changed "" "would write /etc/credstore/edge-energy.$2"
        return
    fi
    CHANGED=no
    directory /etc/credstore 0700
    put "$SECRETS/$1" "/etc/credstore/edge-energy.$2" 0600
    [[ $CHANGED == no ]] || restart_later edge-energy.service
}

# ---------------------------------------------------------------------------------------------------- units

# unit enable|disable UNIT…: start them at every boot, or stop them and never start them again. What is enabled is started
# at the end.
unit() {
    local verb=$1 name
    shift
    for name in "$@"; do
        "_unit_$verb" "$name"
    done
}

_unit_enable() {
    if ! systemctl is-enabled --quiet "$1" 2>/dev/null; then
        changed "$1 starts at every boot" "would start $1 at every boot"
        run systemctl enable "$1"
    fi
    systemctl is-active --quiet "$1" || restart_later "$1"
}

_unit_disable() {
    if systemctl is-enabled --quiet "$1" 2>/dev/null || systemctl is-active --quiet "$1" 2>/dev/null; then
        changed "$1 is stopped and no longer started" "would stop $1 and no longer start it"
        run systemctl disable --now "$1"
    fi
}

# restart_later UNIT…: start it (again) at the end; call it when something of its changed. The order is kept.
restart_later() {
    local name
    for name in "$@"; do
        [[ " ${RESTART[*]} " == *" $name "* ]] || RESTART+=("$name")
    done
}
