# What the shell tools share: words for the user, and Debian's archive as this machine's apt knows it.

die() { printf '%s\n' "$@" >&2; exit 1; }
say() { printf '%s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# The archive's lists may never have been fetched on a new machine.
refresh_apt() {
    has apt-get || return 1
    [ "$(id -u)" = 0 ] || return 1
    DEBIAN_FRONTEND=noninteractive apt-get -q update >&2
}

# download FOLDER PACKAGE...: packages of this machine's release, as files in FOLDER.
download() {
    local folder=$1
    shift
    fetch() { (cd "$folder" && apt-get -q -o "APT::Sandbox::User=$(id -un)" download "$@"); }
    fetch "$@" || { refresh_apt && fetch "$@"; }
}

apt_mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null | head -n 1; }

# Prints the base address of the Debian archive, fails in words when apt knows none.
debian_mirror() {
    has apt-get || die "No apt here: this needs a Debian system."
    [ -n "$(apt_mirror)" ] || refresh_apt || true
    [ -n "$(apt_mirror)" ] || die "apt knows no Debian archive; see /etc/apt/sources.list.d, then: sudo apt-get update"
    apt_mirror
}

debian_keyring() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$keyring" ] || die "$keyring is missing. Run: sudo apt-get install debian-archive-keyring"
    printf '%s\n' "$keyring"
}

# unstable_apt FOLDER COMMAND...: apt-get on Debian's unstable, with lists and cache below FOLDER, so that the system never
# hears of unstable. Root's apt reads as itself: its sandbox user may not be able to enter a checkout below /root.
unstable_apt() {
    local work=$1 mirror keyring
    shift
    mirror=$(debian_mirror) keyring=$(debian_keyring)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=$keyring] $mirror sid main" >"$work/sources.list"
    apt-get -q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o "APT::Update::Post-Invoke=" \
        -o "APT::Update::Post-Invoke-Success=" -o "APT::Sandbox::User=$(id -un)" \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Languages=none "$@"
}
