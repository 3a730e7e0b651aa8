# What the scripts beside it share; sourced, not run. They run as root or as the user of holder and reader, for only
# those two see which processes have a pipe open.
#
#   PIPES    the pipes directory [/etc/standpipe/pipes.d]
#   TIMEOUT  seconds to wait for anything [60]
#   RELOAD   what sends HUP to holder and reader, such as `systemctl reload holder reader`
#            [kill -HUP to those that were started for PIPES]

PIPES=${PIPES:-/etc/standpipe/pipes.d}
TIMEOUT=${TIMEOUT:-60}
PATH=$PATH:/usr/lib/standpipe/bin:/usr/sbin:/sbin

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# wait_for WHAT COMMAND...: until COMMAND succeeds, or TIMEOUT is over.
wait_for() {
    what=$1
    shift
    looks=$((TIMEOUT * 10))
    until "$@"; do
        looks=$((looks - 1))
        [ "$looks" -gt 0 ] || die "not within $TIMEOUT s: $what"
        sleep 0.1
    done
}

# program PROC: what runs there, ours by its short name. The kernel keeps 15 bytes of a name.
program() {
    case $(cat "$1/comm" 2>/dev/null) in
    holder | standpipe-holde) echo holder ;;
    reader | standpipe-reade) echo reader ;;
    tailer | standpipe-taile) echo tailer ;;
    *) cat "$1/comm" 2>/dev/null || echo gone ;;
    esac
}

# daemons NAME: the programs NAME that serve PIPES, which is an argument or their current directory.
daemons() {
    for proc in /proc/[0-9]*; do
        [ "$(program "$proc")" = "$1" ] || continue
        tr '\0' '\n' <"$proc/cmdline" 2>/dev/null | sed 1d >"$work/words" || continue
        # A command, such as `reader logs -f`, is no daemon.
        ! grep -qxE 'status|check|stdin|logs|list|verify|reindex|histogram|rotate' "$work/words" || continue
        echo . >>"$work/words"
        while read -r word; do
            case $word in /*) ;; *) word=$proc/cwd/$word ;; esac
            [ ! "$word" -ef "$PIPES" ] || echo "${proc#/proc/}"
        done <"$work/words"
    done | sort -u
}

# Before anything is changed: whether `reload` may do its work.
can_reload() {
    [ -z "${RELOAD:-}" ] || return 0
    for daemon in holder reader; do
        pids=$(daemons "$daemon")
        [ -n "$pids" ] || die "no $daemon runs for $PIPES: start one, or say by RELOAD how to reload it"
        # shellcheck disable=SC2086 # Several.
        kill -0 $pids 2>/dev/null || die "$daemon runs as another user: run this as that user or as root, or set RELOAD"
    done
}

# can_write DIR...: whether names can be made and removed there.
can_write() {
    for dir in "$@"; do
        [ -d "$dir" ] || die "there is no directory $dir"
        [ -w "$dir" ] || die "you cannot write in $dir: run this as its owner or as root"
    done
}

reload() {
    if [ -n "${RELOAD:-}" ]; then
        $RELOAD
        return
    fi
    for daemon in holder reader; do
        pids=$(daemons "$daemon")
        [ -n "$pids" ] || die "no $daemon runs for $PIPES: start one, or say by RELOAD how to reload it"
        # shellcheck disable=SC2086 # Several.
        kill -HUP $pids
    done
}

# openers FIFO: a line `NAME PID` for each process that has it open and that this user may look into.
openers() {
    for fd in /proc/[0-9]*/fd/*; do
        [ "$fd" -ef "$1" ] || continue
        proc=${fd%/fd/*}
        echo "$(program "$proc") ${proc#/proc/}"
    done | sort -u
}

plain_name() {
    case $1 in
    '' | .* | */* | *[[:space:]]* | defaults | *.toml | *.stage) die "\`$1\` cannot be the name of a pipe" ;;
    esac
}

[ -d "$PIPES" ] || die "there is no pipes directory $PIPES"
work=$(mktemp -d)
# What takes back all that a script made, should it fail.
undo=:
at_end() {
    status=$?
    [ "$status" = 0 ] || $undo
    rm -rf "$work"
    exit "$status"
}
trap at_end EXIT
trap 'exit 1' HUP INT TERM
