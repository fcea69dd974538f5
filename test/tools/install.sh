#!/usr/bin/env bash
# Installs the module and a2md with its manual, or removes what was installed; never touches a file that a package owns.
# The module is mod_md_rs.so, as the C module has the name mod_md.so. DESTDIR, PREFIX and APXS are obeyed.
#
# LAYOUT is how the server of the target reads its configuration: debian (a2enmod), fedora (conf.modules.d) or plain (a LoadModule
# line). The default is what the target has. The machine that builds does not matter: a package is built where no server is set up.
set -eu
cd "$(dirname "$0")/../.."
. test/tools/lib.sh

APXS=${APXS:-apxs} DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local}
modules=$("$APXS" -q LIBEXECDIR) || die "apxs is missing. Run: make deps"
etc=$("$APXS" -q SYSCONFDIR)
# Fedora's apxs names the folder of httpd.conf.
server=${etc%/conf}

found_layout() {
    if [ -d "$DESTDIR$etc/mods-available" ]; then
        echo debian
    elif [ -d "$DESTDIR$server/conf.modules.d" ]; then
        echo fedora
    else
        echo plain
    fi
}
LAYOUT=${LAYOUT:-$(found_layout)}

# What switches the module on, its settings, and the link that tells whether it is on.
load='' conf='' enabled='' documents=/var/www/html
case $LAYOUT in
    debian) load=$etc/mods-available/md_rs.load conf=$etc/mods-available/md_rs.conf enabled=$etc/mods-enabled/md_rs.load ;;
    fedora) load=$server/conf.modules.d/00-md_rs.conf conf=$server/conf.d/md_rs.conf ;;
    plain) conf=$etc/extra/md_rs.conf documents=$("$APXS" -q htdocsdir) ;;
    *) die "LAYOUT=$LAYOUT: use debian, fedora or plain" ;;
esac

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
sed "s|/usr/lib/apache2/modules/|$modules/|" conf/md_rs.load >"$stage/load"
sed "s|/var/www/html|$documents|" conf/md_rs.conf >"$stage/conf"

# Mode, source and target of each file.
list() {
    echo "644 build/mod_md.so $modules/mod_md_rs.so"
    echo "755 build/a2md $PREFIX/bin/a2md"
    local page
    for page in docs/*.[1-8] docs/man/*.[1-8]; do
        echo "644 $page $PREFIX/share/man/man${page##*.}/${page##*/}"
    done
    [ ! -e completions/a2md.bash ] || echo "644 completions/a2md.bash $PREFIX/share/bash-completion/completions/a2md"
    [ ! -e completions/_a2md ] || echo "644 completions/_a2md $PREFIX/share/zsh/site-functions/_a2md"
    [ ! -e completions/a2md.fish ] || echo "644 completions/a2md.fish $PREFIX/share/fish/vendor_completions.d/a2md.fish"
    [ -z "$load" ] || echo "644 $stage/load $load"
    echo "644 $stage/conf $conf"
}

owner() {
    local file
    file=$(realpath -m "$1")
    { has dpkg-query && dpkg-query -S "$file"; } 2>/dev/null || { has rpm && rpm -qf "$file"; } 2>/dev/null
}
refuse_owned() {
    local whose file
    while read -r _ _ file; do
        file=$DESTDIR$file
        ! whose=$(owner "$file") || die "$file belongs to a package ($whose) and stays as it is." "Nothing was changed. Another PREFIX helps for a2md."
    done < <(list)
}
was_edited() { [ "$1" = "$DESTDIR$conf" ] && [ -e "$1" ] && ! cmp -s "$1" "$stage/conf"; }

install_all() {
    refuse_owned
    local mode source file
    while read -r mode source file; do
        file=$DESTDIR$file
        if was_edited "$file"; then
            say "kept      $file, which was edited"
        else
            install -D -m "$mode" "$source" "$file"
            say "installed $file"
        fi
    done < <(list)
    case $LAYOUT in
        debian) say "To switch it on: a2dismod md; a2enmod md_rs; then restart the server." ;;
        fedora) say "The next restart of the server switches it on, in place of the C module." ;;
        plain)
            say "To switch it on, write into the server's configuration, below mod_ssl and mod_watchdog:"
            say "  LoadModule md_module $modules/mod_md_rs.so"
            say "  Include $conf"
            ;;
    esac
}

uninstall_all() {
    [ -z "$enabled" ] || [ ! -e "$DESTDIR$enabled" ] || die "The module is switched on and the server would not start without it. First: a2dismod md_rs"
    refuse_owned
    local file
    while read -r _ _ file; do
        file=$DESTDIR$file
        [ -e "$file" ] || continue
        if was_edited "$file"; then
            say "kept    $file, which was edited"
        else
            rm -f "$file"
            say "removed $file"
        fi
    done < <(list)
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) die "usage: $0 install|uninstall" ;;
esac
