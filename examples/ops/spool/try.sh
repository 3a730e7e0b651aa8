#!/bin/sh
# A loop of 1,000 jobs in the background, each with a log of its own; then `reader logs` gives back one log in which
# each job's lines stand together. The spool and all else is in a directory of its own, which is removed.
#
# Wants holder, reader and tailer on the PATH, or in BIN.
set -eu
jobs=${1:-1000}
PATH=${BIN:+$BIN:}$PATH
here=$(cd "$(dirname "$0")" && pwd)
top=$(mktemp -d)
pids=
# shellcheck disable=SC2086 # Several.
trap 'kill $pids 2>/dev/null || :; rm -rf "$top"' EXIT
trap 'exit 1' INT TERM
cd "$top"
mkdir -p spool/done pipes.d run logs
mkfifo run/jobs
ln -s ../run/jobs pipes.d/jobs
echo 'stage = true' >pipes.d/jobs.toml
cat >tailer.toml <<END
state_file = "state.json"

[[spool]]
dir = "spool"
done = "done"
pipe = "run/jobs"
END
holder pipes.d 2>holder.err &
pids=$!
reader pipes.d --logs logs 2>reader.err &
pids="$pids $!"
tailer --config tailer.toml 2>tailer.err &
pids="$pids $!"

waiting=
for job in $(seq "$jobs"); do
    "$here/write.sh" spool sh -c "echo job $job begins; echo job $job ends" &
    waiting="$waiting $!"
done
# shellcheck disable=SC2086
wait $waiting

lines=0
for _ in $(seq 200); do
    lines=$(reader logs jobs --logs logs 2>/dev/null | wc -l)
    [ "$lines" -ge $((2 * jobs)) ] && break
    sleep 0.1
done
reader logs jobs --logs logs >all
apart=$(awk 'NR % 2 { job = $2; next } $2 != job || $3 != "ends"' all | wc -l)
left=$(find spool -type f | wc -l)
echo "$jobs jobs, $(wc -l <all) lines, $(sort all | uniq -d | wc -l) repeated, $apart torn apart, $left files left"
[ "$(wc -l <all)" -eq $((2 * jobs)) ] && [ "$apart" -eq 0 ] && [ "$left" -eq 0 ]
