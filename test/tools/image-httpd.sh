#!/usr/bin/env bash
# Runs in a new Debian: builds httpd of Debian's sources as the official image has it, below /usr/local/apache2, without a package
# of httpd, without the tools that built it, and with a log on standard output.
set -eu

export DEBIAN_FRONTEND=noninteractive
prefix=/usr/local/apache2
tools="dpkg-dev gcc libapr1-dev libaprutil1-dev libbrotli-dev libcurl4-openssl-dev libjansson-dev liblua5.2-dev libnghttp2-dev libpcre2-dev libssl-dev libxml2-dev make zlib1g-dev"

# A mirror may have lost the sources of the newest version: any version of the last two releases does.
for suite in trixie bookworm; do
    sed -n "s/^deb \(.*\) trixie main$/deb-src \1 $suite main/p" /etc/apt/sources.list
done >/etc/apt/sources.list.d/sources.list
apt-get -q update
apt-get -qy install --no-install-recommends ca-certificates libaprutil1-ldap libldap-common
apt-mark manual ca-certificates libaprutil1-ldap libldap-common >/dev/null
before=$(apt-mark showmanual)
apt-get -qy install --no-install-recommends $tools
mkdir -p /usr/src/httpd
cd /usr/src/httpd
for version in $(apt-cache showsrc apache2 | sed -n 's/^Version: //p'); do
    ! apt-get -q -o APT::Sandbox::User=root source --download-only "apache2=$version" || break
done
tar -x --strip-components=1 -f apache2_*.orig.tar.[gx]z
./configure --quiet --prefix=$prefix --build="$(dpkg-architecture --query DEB_BUILD_GNU_TYPE)" --enable-mods-shared=reallyall --enable-mpms-shared=all
make -s -j "$(nproc)"
make -s install
sed -ri -e 's!^(\s*CustomLog)\s+\S+!\1 /proc/self/fd/1!g' -e 's!^(\s*ErrorLog)\s+\S+!\1 /proc/self/fd/2!g' $prefix/conf/httpd.conf
rm -rf /usr/src/httpd $prefix/man $prefix/manual

# What the programs and modules need stays, as in the image.
apt-mark auto '.*' >/dev/null
apt-mark manual $before >/dev/null
find /usr/local -type f -perm /111 -exec ldd {} + 2>/dev/null | awk '/=>/ { print $(NF-1) }' | sort -u | xargs -r realpath |
    xargs -r dpkg-query --search 2>/dev/null | cut -d: -f1 | sort -u | xargs -r apt-mark manual >/dev/null
apt-get -qy purge --auto-remove -o APT::AutoRemove::RecommendsImportant=false >/dev/null
