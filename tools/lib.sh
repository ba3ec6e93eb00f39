# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# Shared by ./run and ./test: packages, builds, the system user, the stage. Source it after setting
# `root` to the checkout's absolute path.

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; return; fi
    command -v sudo >/dev/null || die "need root for: $* (install sudo, or run this as root)"
    sudo -- "$@"
}

# packages_of GROUP...: the packages of these groups, one a line.
packages_of() {
    local group
    for group in "$@"; do
        awk -v g="$group" '$1 == g { print $2 }' "$root/tools/packages.txt"
    done
}

package_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

node_usable() {
    command -v npm >/dev/null && command -v node >/dev/null &&
        [ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 18')" = true ]
}

# ensure_packages GROUP...: installs what is missing, and says what.
ensure_packages() {
    local missing=() package
    command -v dpkg-query >/dev/null || die "this needs Debian 12 (no dpkg-query here)"
    while read -r package; do
        package_installed "$package" || missing+=("$package")
    done < <(packages_of "$@")
    if [ ${#missing[@]} = 0 ]; then return; fi
    say "installing Debian packages: ${missing[*]}"
    as_root apt-get update -q >&2
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

ensure_node() {
    if node_usable; then return; fi
    ensure_packages node
    node_usable || die "node >= 18 with npm is needed; found $(node --version 2>&1 | head -1)"
}

# The pinned Node 22 that `npm ci` in webui/ brings; empty while there is none.
pinned_node() {
    local candidate
    for candidate in "$root"/webui/node_modules/node/bin/node \
        "$root"/webui/node_modules/node-linux-*/bin/node; do
        if [ -x "$candidate" ]; then printf '%s\n' "$candidate"; return; fi
    done
}

# Installs the page's packages when package-lock.json is newer than what is installed.
ensure_page_packages() {
    local stamp=$root/webui/node_modules/.package-lock.json
    [ -f "$root/webui/package.json" ] || return 0
    if [ -f "$stamp" ] && [ ! "$root/webui/package-lock.json" -nt "$stamp" ]; then return; fi
    ensure_node
    say "installing the page's npm packages (webui/package-lock.json)"
    (cd "$root/webui" && npm ci --no-audit --no-fund --loglevel=error >&2)
    touch "$stamp"
}

# Builds webui/dist when a source is newer than it.
build_page() {
    local index=$root/webui/dist/index.html newer
    [ -f "$root/webui/package.json" ] || return 0
    ensure_page_packages
    if [ -f "$index" ]; then
        newer=$(find "$root/webui" \( -name node_modules -o -name dist \) -prune -o \
            -type f -newer "$index" -print -quit)
        if [ -z "$newer" ]; then return; fi
    fi
    say "building the page"
    local node
    node=$(pinned_node)
    (cd "$root/webui" && PATH="${node:+$(dirname "$node"):}$PATH" npm run --silent build >&2)
}

# configure DIR MESON-OPTION...: sets a build folder up once; the options take part in its name's
# stamp, so that a changed option reconfigures.
configure() {
    local dir=$1 stamp
    shift
    stamp=$dir/.volary-options
    # Without a built page there is nothing to embed.
    local page=false
    if [ -f "$root/webui/dist/index.html" ]; then page=true; fi
    set -- "$@" -Dpage=$page
    if [ -f "$dir/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$*" ]; then return; fi
    say "configuring ${dir#"$root"/} ($*)"
    local reconfigure=()
    if [ -f "$dir/build.ninja" ]; then reconfigure=(--reconfigure); fi
    local cache=
    if command -v ccache >/dev/null; then cache='ccache '; fi
    CC="${cache}clang-19" CXX="${cache}clang++-19" CC_LD=lld CXX_LD=lld \
        meson setup "${reconfigure[@]}" "$dir" "$root" "$@" >"$dir.log" 2>&1 || {
        tail -30 "$dir.log" >&2
        die "meson could not configure $dir"
    }
    mv "$dir.log" "$dir/configure.log"
    printf '%s' "$*" >"$stamp"
}

# compile DIR [TARGET...]: quiet unless it fails.
compile() {
    local dir=$1 started=$SECONDS
    shift
    say "building ${dir#"$root"/}"
    # What ccache must not look at to cache users of a precompiled header.
    CCACHE_SLOPPINESS=pch_defines,time_macros ninja -C "$dir" "$@" >"$dir/build.log" 2>&1 || {
        grep -v '^\[' "$dir/build.log" | tail -60 >&2
        die "the build failed; the full log is $dir/build.log"
    }
    say "built ${dir#"$root"/} in $((SECONDS - started)) s"
}

# The programs (build/bin) of a configured folder, as ninja targets.
program_targets() {
    ninja -C "$1" -t targets all | sed -n 's,^\(bin/[^:/]*\): .*LINKER.*$,\1,p'
}

release_options=(--buildtype=release -Doptimization=2 -Db_ndebug=if-release -Dpch=true)

# Creates the system user and group that run the daemon when root started it: as
# systemd/volary.sysusers says, by systemd-sysusers where it is there, else with the same values.
ensure_system_user() {
    if ! getent passwd volary >/dev/null || ! getent group volary >/dev/null; then
        say "creating the system user volary (systemd/volary.sysusers)"
        if command -v systemd-sysusers >/dev/null; then
            systemd-sysusers "$root/systemd/volary.sysusers" >&2 || true
        fi
    fi
    if ! getent group volary >/dev/null; then groupadd --system volary; fi
    if ! getent passwd volary >/dev/null; then
        useradd --system --gid volary --home-dir /var/lib/volary \
            --comment "volary, keeper of caged agents" --shell /usr/sbin/nologin volary
    fi
    install -d -m 0750 -o volary -g volary /var/lib/volary
}

# Extra NAME=value pairs for as_volary.
volary_env=()

# Becomes COMMAND, as the system user when root calls, else as the caller. Never as uid 0.
exec_as_volary() {
    if [ "$(id -u)" != 0 ]; then exec env "${volary_env[@]}" "$@"; fi
    cd / || exit 1
    # Root's own PATH may name folders that only root can read.
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/var/lib/volary USER=volary LANG=C.UTF-8 "${volary_env[@]}" \
        setpriv --reuid volary --regid volary --init-groups --no-new-privs "$@"
}

as_volary() { (exec_as_volary "$@"); }

# The same without no_new_privs, for what runs a setuid program.
as_volary_who_may_gain() {
    if [ "$(id -u)" != 0 ]; then as_volary "$@"; return; fi
    (cd / && exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/var/lib/volary USER=volary LANG=C.UTF-8 "${volary_env[@]}" \
        setpriv --reuid volary --regid volary --init-groups "$@")
}

# Becomes a daemon: one that root starts makes its cgroups and folders, and then drops to the system
# user by itself.
exec_daemon() {
    if [ "$(id -u)" != 0 ]; then exec_as_volary "$@"; fi
    cd / || exit 1
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LANG=C.UTF-8 "${volary_env[@]}" "$@"
}

# stage_programs DEST PROGRAM...: copies programs where the system user can run but not change them.
stage_programs() {
    local dest=$1 program
    shift
    install -d -m 0755 "$dest"
    for program in "$@"; do
        # A running program cannot be written to, but its name can be given to a new file.
        install -m 0755 "$root/build/$program" "$dest/.new"
        mv -f "$dest/.new" "$dest/${program##*/}"
    done
}

# prepare_stage DIR: sets `stage` to a folder with what the tests read, `stage_bin` to the programs of the
# build folder and `node`, all readable by the user who runs the tests. For an ordinary user that is the
# checkout itself; root's is below `stage_root`.
stage_root=/var/lib/volary/test
prepare_stage() {
    local build=$1 name
    node=$(pinned_node)
    [ -n "$node" ] || die "the pinned Node 22 is missing: npm ci in webui/ brings it"
    if [ "$(id -u)" != 0 ]; then
        stage=$root stage_bin=$build/bin
        return
    fi
    ensure_system_user
    stage=$stage_root
    stage_bin=$stage/build/bin
    rm -rf "$stage"
    install -d -m 0755 "$stage" "$stage/src" "$stage/src/webui/node_modules"
    for name in examples tests docs; do
        if [ -d "$root/$name" ]; then cp -R "$root/$name" "$stage/src/"; fi
    done
    if [ -d "$root/webui/node_modules/playwright-core" ]; then
        cp -R "$root/webui/node_modules/playwright-core" "$stage/src/webui/node_modules/"
    fi
    cp "$root"/webui/package.json "$stage/src/webui/" 2>/dev/null || true
    install -m 0755 "$node" "$stage/node"
    mapfile -t programs < <(cd "$build" && find bin -maxdepth 1 -type f -perm -u+x)
    install -d -m 0755 "$stage_bin"
    for name in "${programs[@]}"; do install -m 0755 "$build/$name" "$stage_bin/"; done
    local faults=tests/fault/preload/volary-fault.so
    if [ -f "$build/$faults" ]; then install -D -m 0755 "$build/$faults" "$stage/build/$faults"; fi
    chmod -R go+rX "$stage/src"
    node=$stage/node stage=$stage/src
}
