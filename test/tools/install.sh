#!/usr/bin/env bash
# Installs the module and a2md with its man page, or removes what was installed; never touches a file that a package owns.
# The module is mod_md_rs.so, as Debian's C module has the name mod_md.so. DESTDIR, PREFIX and APXS are obeyed.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

APXS=${APXS:-apxs} DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local}
modules=$("$APXS" -q LIBEXECDIR) || die "apxs is missing. Run: make deps"
available=$("$APXS" -q SYSCONFDIR)/mods-available
module=$DESTDIR$modules/mod_md_rs.so
a2md=$DESTDIR$PREFIX/bin/a2md
man=$DESTDIR$PREFIX/share/man/man8/a2md.8

# Debian switches modules on by links to mods-available; elsewhere there is a LoadModule line to write.
confs=()
[ ! -d "$available" ] || confs=("$DESTDIR$available/md_rs.load" "$DESTDIR$available/md_rs.conf")

owner() {
    local file
    file=$(realpath -m "$1")
    { has dpkg-query && dpkg-query -S "$file"; } 2>/dev/null || { has rpm && rpm -qf "$file"; } 2>/dev/null
}
refuse_owned() {
    local file whose
    for file in "$module" "$a2md" "$man" "${confs[@]}"; do
        ! whose=$(owner "$file") || die "$file belongs to a package ($whose) and stays as it is." "Nothing was changed. Another PREFIX helps for a2md."
    done
}

install_all() {
    refuse_owned
    stage=$(mktemp -d)
    trap 'rm -rf "$stage"' EXIT
    cp build/mod_md.so "$stage/mod_md_rs.so"
    mkdir -p "$DESTDIR$modules"
    "$APXS" -S LIBEXECDIR="$DESTDIR$modules" -i -n md "$stage/mod_md_rs.so" >"$stage/log" 2>&1 || die "apxs failed:" "$(cat "$stage/log")"
    say "installed $module"
    install -D -m 755 build/a2md "$a2md"
    say "installed $a2md"
    install -D -m 644 docs/a2md.8 "$man"
    say "installed $man"
    local file
    for file in "${confs[@]}"; do
        if [ -e "$file" ] && [ "${file##*.}" = conf ] && ! cmp -s "$file" "conf/${file##*/}"; then
            say "kept      $file, which was edited"
        else
            install -D -m 644 "conf/${file##*/}" "$file"
            say "installed $file"
        fi
    done
    if [ ${#confs[@]} -gt 0 ]; then
        say "To switch it on: a2dismod md; a2enmod md_rs; then restart the server."
    else
        say "To switch it on, write into the server's configuration:" "  LoadModule md_module $modules/mod_md_rs.so"
    fi
}

uninstall_all() {
    local file
    for file in "${confs[@]}"; do
        file=${file/mods-available/mods-enabled}
        [ ! -e "$file" ] || die "The module is switched on and the server would not start without it. First: a2dismod md_rs"
    done
    refuse_owned
    for file in "$module" "$a2md" "$man" "${confs[@]}"; do
        [ -e "$file" ] || continue
        if [ "${file##*.}" = conf ] && ! cmp -s "$file" "conf/${file##*/}"; then
            say "kept    $file, which was edited"
        else
            rm -f "$file"
            say "removed $file"
        fi
    done
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) die "usage: $0 install|uninstall" ;;
esac
