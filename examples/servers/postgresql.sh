#!/bin/sh
# PostgreSQL without a FIFO: `postgresql.sh DATA_DIRECTORY` starts it with its standard error in a log, without a
# collector.
#
#   install -d -o postgres -m 2750 /var/log/postgresql-reader
#
# Start: this, which starts both. Stop: the server (`pg_ctl stop`); the reader ends when everything is written.
# Here both share a fate: a reader that is killed takes the server's standard error with it. Under s6 or runit, make
# `reader stdin` the log/run of the service (../s6, ../runit), whose pipe the supervisor keeps open.
set -eu
PATH=$PATH:/usr/lib/standpipe/bin
postgres -D "$1" -c logging_collector=off 2>&1 | reader stdin --continue /var/log/postgresql-reader
