#!/bin/sh
# A short-lived process that logs into a spool: `write.sh DIR COMMAND…` runs COMMAND with its output as one file of
# DIR, and signals the end by an empty file of the same name in DIR/done.
#
# The file is made for this process alone, for one of its number may have left half a file. Nothing is locked, and a
# process that dies half-way leaves no marker.
set -eu
dir=$1
shift
name=job.$$.log
again=0
until (set -C && : >"$dir/$name") 2>/dev/null; do
    [ -e "$dir/$name" ] || { echo "$0: cannot make $dir/$name" >&2; exit 1; }
    again=$((again + 1))
    name=job.$$.$again.log
done
status=0
"$@" >>"$dir/$name" 2>&1 || status=$?
# Where it has to survive a power cut, before the marker: sync "$dir/$name"
: >"$dir/done/$name"
exit $status
