#!/bin/sh
# Installs a built Edgeguard, for packagers and for a machine without a package: packaging/install.sh [DESTDIR]
#
# Takes the programs from FROM (default: target/release beside this folder) and puts exactly the files of packaging/files.txt below DESTDIR (default: /).
# A configuration file that is there already is left alone.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$here")
from=${FROM:-$root/target/release}
dest=${1:-}
dest=${dest%/}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

for program in edgeguard edgeguardd edgeguard-compile edgeguard-worker edgeguard-graph edgeguard-language edgeguard-onnxruntime edgeguard-openvino edgeguard-export; do
    [ -x "$from/$program" ] || fail "\`$from/$program\` is not there; build it with: cargo build --release --workspace --bins"
done

# put MODE SOURCE TARGET
put() {
    mkdir -p "$(dirname -- "$dest$3")"
    install -m "$1" "$2" "$dest$3"
}

# keep MODE SOURCE TARGET: as put, unless the target is there
keep() {
    [ -e "$dest$3" ] || put "$@"
}

put 0755 "$from/edgeguard" /usr/bin/edgeguard
put 0755 "$from/edgeguardd" /usr/libexec/edgeguard/edgeguardd
put 0755 "$from/edgeguard-compile" /usr/libexec/edgeguard/edgeguard-compile
put 0755 "$from/edgeguard-worker" /usr/libexec/edgeguard/edgeguard-worker
put 0755 "$from/edgeguard-graph" /usr/libexec/edgeguard/edgeguard-graph
put 0755 "$from/edgeguard-language" /usr/libexec/edgeguard/edgeguard-language
put 0755 "$from/edgeguard-onnxruntime" /usr/libexec/edgeguard/edgeguard-onnxruntime
put 0755 "$from/edgeguard-openvino" /usr/libexec/edgeguard/edgeguard-openvino
put 0755 "$from/edgeguard-export" /usr/libexec/edgeguard/edgeguard-export

put 0644 "$here/systemd/edgeguardd.service" /usr/lib/systemd/system/edgeguardd.service
put 0644 "$here/systemd/edgeguard-export.service" /usr/lib/systemd/system/edgeguard-export.service
put 0644 "$here/systemd/edgeguard.slice" /usr/lib/systemd/system/edgeguard.slice

mkdir -p "$dest/etc/edgeguard/policy.d" "$dest/etc/edgeguard/profiles.d" "$dest/etc/edgeguard/keys"
chmod 0755 "$dest/etc/edgeguard" "$dest/etc/edgeguard/policy.d" "$dest/etc/edgeguard/profiles.d" "$dest/etc/edgeguard/keys"
keep 0644 "$here/examples/edgeguard.toml" /etc/edgeguard/edgeguard.toml

put 0644 "$here/systemd/edgeguardd.service.d.example" /usr/share/doc/edgeguard/examples/edgeguardd.service.d.conf
put 0644 "$here/systemd/edgeguardd-http.socket.example" /usr/share/doc/edgeguard/examples/edgeguardd-http.socket
put 0644 "$here/examples/voice-gate.toml" /usr/share/doc/edgeguard/examples/voice-gate.toml
put 0644 "$here/examples/export.toml" /usr/share/doc/edgeguard/examples/export.toml
for file in otel/collector.yaml rsyslog/file.conf rsyslog/relp.conf rsyslog/tls.conf rsyslog/unix.conf syslog-ng/tls.conf \
    sigma/audit-degraded.yml sigma/deny-burst.yml sigma/sandbox-kill.yml sigma/signature-reject.yml sigma/tamper.yml; do
    put 0644 "$here/siem/$file" "/usr/share/doc/edgeguard/siem/$file"
done
put 0644 "$root/docs/operator-quickstart.md" /usr/share/doc/edgeguard/operator-quickstart.md
put 0644 "$root/docs/policy-reference.md" /usr/share/doc/edgeguard/policy-reference.md
put 0644 "$root/docs/http.md" /usr/share/doc/edgeguard/http.md
put 0644 "$root/docs/journal.md" /usr/share/doc/edgeguard/journal.md
put 0644 "$root/docs/siem.md" /usr/share/doc/edgeguard/siem.md
put 0644 "$root/SECURITY.md" /usr/share/doc/edgeguard/SECURITY.md
put 0644 "$root/LICENSE" /usr/share/doc/edgeguard/copyright

# Made from the command line's own definition, so that they cannot disagree with it.
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$from/edgeguard" man --out "$made" >/dev/null
for page in "$made"/*.1; do
    put 0644 "$page" "/usr/share/man/man1/$(basename -- "$page")"
done
"$from/edgeguard" completions bash >"$made/bash"
"$from/edgeguard" completions zsh >"$made/zsh"
"$from/edgeguard" completions fish >"$made/fish"
put 0644 "$made/bash" /usr/share/bash-completion/completions/edgeguard
put 0644 "$made/zsh" /usr/share/zsh/vendor-completions/_edgeguard
put 0644 "$made/fish" /usr/share/fish/vendor_completions.d/edgeguard.fish

[ -n "$dest" ] || systemctl daemon-reload 2>/dev/null || true
