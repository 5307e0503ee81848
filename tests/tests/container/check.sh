#!/bin/sh
# Runs inside the container, as root, after edgeguardd.service came up or failed to; the container ends with it. Every command leaves what it said in /report, and its exit code in NAME.rc.
set -u
mkdir -p /report
chmod 0755 /report

keep() {
    name=$1
    shift
    timeout 60 "$@" >"/report/$name" 2>"/report/$name.err"
    echo $? >"/report/$name.rc"
}

# wait_for SECONDS COMMAND…: until it succeeds
wait_for() {
    left=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.1
    done
}

processes() {
    for pid in $(cat /sys/fs/cgroup/edgeguard.slice/edgeguardd.service/cgroup.procs); do
        echo "process $(tr '\0' ' ' <"/proc/$pid/cmdline")"
        grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp|Seccomp_filters|Threads|VmRSS|RssAnon):' "/proc/$pid/status"
    done
}

# exported_as_many_as COMMAND…: the exporter's file has at least as many lines as the command prints
exported_as_many_as() {
    "$@" >/tmp/wanted && [ "$(wc -l </var/log/edgeguard/export.jsonl)" -ge "$(wc -l </tmp/wanted)" ]
}

main_pid() {
    systemctl show --property=MainPID --value edgeguardd
}

restarts_are() {
    [ "$(systemctl show --property=NRestarts --value edgeguardd)" -ge "$1" ] && systemctl is-active --quiet edgeguardd && edgeguard status
}

# greeted CLASS ADDRESS: what a client of a module that serves gets
greeted() {
    perl -MIO::Socket::UNIX -MIO::Socket::INET -e 'my $c = "IO::Socket::$ARGV[0]"; my $s = $ARGV[0] eq "UNIX" ? $c->new(Peer => $ARGV[1]) : $c->new($ARGV[1]);
        $s or die "$!"; print $s "GET /greet HTTP/1.1\r\nHost: gate\r\n\r\n"; print <$s>;' "$1" "$2"
}

keep active systemctl is-active edgeguardd
if [ "$(cat /report/active)" != active ]; then
    # What follows would only fail too, and say less.
    keep journal journalctl -u edgeguardd --no-pager -o cat
    exit 1
fi
keep show systemctl show edgeguardd
keep doctor edgeguard doctor
keep invoke edgeguard invoke hello
keep voice edgeguard invoke voice-gate
keep status edgeguard status --json
processes >/report/processes 2>&1
keep invoker runuser -u gateway -- edgeguard invoke hello
keep stranger runuser -u stranger -- edgeguard invoke hello
greeted UNIX /run/edgeguard/http/socket.sock >/report/served-at-a-socket 2>&1
greeted INET 127.0.0.1:8080 >/report/served-at-a-port 2>&1
keep http-modes stat -c '%a %n' /run/edgeguard /run/edgeguard/http /run/edgeguard/http/socket.sock
keep export-start systemctl start edgeguard-export
keep export-active systemctl is-active edgeguard-export
keep export-show systemctl show edgeguard-export
exporter=$(systemctl show --property=MainPID --value edgeguard-export)
grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' "/proc/$exporter/status" >/report/export-process
keep reload systemctl reload edgeguardd
keep active-after-reload systemctl is-active edgeguardd

# A daemon that is killed takes its children with it, comes back, and its journal is whole.
children=$(cat /sys/fs/cgroup/edgeguard.slice/edgeguardd.service/cgroup.procs)
kill -KILL "$(main_pid)"
sleep 1
for pid in $children; do
    [ ! -e "/proc/$pid" ] || echo "$pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
done >/report/orphans
wait_for 20 restarts_are 1
echo $? >/report/comes-back.rc
keep invoke-after-kill edgeguard invoke hello

# A daemon that no longer serves is ended by the watchdog.
mkdir -p /run/systemd/system/edgeguardd.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/edgeguardd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart edgeguardd
kill -STOP "$(main_pid)"
wait_for 30 restarts_are 1
echo $? >/report/watchdog.rc
keep watchdog-result journalctl -u edgeguardd --no-pager -o cat --grep=watchdog

keep stop systemctl stop edgeguardd
# The exporter has outlived all that, and has everything to the daemon's last word.
wait_for 20 exported_as_many_as edgeguard audit export
keep export-wanted edgeguard audit export
keep exported cat /var/log/edgeguard/export.jsonl
keep export-status /usr/libexec/edgeguard/edgeguard-export --status
keep export-stop systemctl stop edgeguard-export
keep export-after-stop systemctl show edgeguard-export
keep export-journal journalctl -u edgeguard-export --no-pager -o cat
keep show-after-stop systemctl show edgeguardd
keep verify edgeguard audit verify
keep journal journalctl -u edgeguardd --no-pager -o cat
cp -r /var/lib/private/edgeguard/audit /report/audit 2>/dev/null
