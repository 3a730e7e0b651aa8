#!/bin/sh
# A shell script into a pipe.
#
#   mkfifo -m 0660 /run/standpipe/app; chown app:standpipe /run/standpipe/app
#   ln -s /run/standpipe/app /etc/standpipe/pipes.d/
#
# Start: holder, reader, this. Stop: this, reader, holder. Without a holder the redirection waits.
#
# Open the pipe once, for everything that follows: `>>` at each command would open it each time. Programs that buffer
# when they do not write to a terminal hold lines back: `stdbuf -oL PROGRAM`.
exec >>/run/standpipe/app 2>&1
for line in $(seq "${1:-3}"); do
    echo "$(date +%FT%T) line $line"
done
