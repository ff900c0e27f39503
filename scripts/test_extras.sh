#!/bin/sh
# Installs what tests look for outside of Python: Chromium with its driver, PostgreSQL and, on Linux,
# systemd-analyze.
#
#   sh scripts/test_extras.sh            what is there already is left alone
#
# Debian and Ubuntu: by apt-get, as root or by sudo. macOS: prints the commands of Homebrew.
# Elsewhere: prints what is missing. Exit status 0: everything is there; 1: something is missing.
set -u

postgres_of_debian=${POSTGRES_OF_DEBIAN:-/usr/lib/postgresql}

has() {
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

has_chromium() {
    has chromium chromium-browser google-chrome \
        "/Applications/Chromium.app/Contents/MacOS/Chromium" \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" && has chromedriver
}

has_postgres() {
    if has initdb; then return 0; fi
    for file in "$postgres_of_debian"/*/bin/initdb; do
        if [ -x "$file" ]; then return 0; fi
    done
    return 1
}

has_systemd() {
    [ "$(uname -s)" != Linux ] || has systemd-analyze
}

missing() {
    has_chromium || echo "Chromium with its driver (chromedriver)"
    has_postgres || echo "PostgreSQL (initdb)"
    has_systemd || echo "systemd (systemd-analyze)"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

apt() {
    echo "apt-get $*"
    if said=$(as_root apt-get -qq "$@" 2>&1); then return 0; fi
    echo "$said" | tail -n 3 | sed 's/^/  /'
    return 1
}

install() {
    apt install -y --no-install-recommends "$@"
}

before=$(missing)
if [ -z "$before" ]; then
    echo "everything is there; nothing to install"
    exit 0
fi

if [ "$(uname -s)" = Darwin ]; then
    echo "missing, and installed by:"
    has_chromium || echo "  brew install --cask chromium chromedriver"
    # shellcheck disable=SC2016  # for the reader to run, not for this script
    has_postgres || echo '  brew install postgresql@17 && export PATH="$(brew --prefix postgresql@17)/bin:$PATH"'
    exit 1
elif ! has apt-get; then
    echo "missing; install with this system's own package manager:"
elif [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    echo "missing; needs root, or sudo that asks no password: sudo sh scripts/test_extras.sh"
else
    apt update
    # Debian's names; Ubuntu's.
    has_chromium || install chromium chromium-driver ||
        install chromium-browser chromium-chromedriver
    has_postgres || install postgresql
    has_systemd || install systemd
    after=$(missing)
    if [ -z "$after" ]; then
        echo "installed; nothing is missing"
        exit 0
    fi
    echo "still missing:"
fi
missing | sed 's/^/  /'
exit 1
