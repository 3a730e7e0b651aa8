#!/bin/sh
# A GoAccess report of the log of nginx.conf, archives and all: `goaccess.sh [since] > report.html`, such as
# `goaccess.sh yesterday`. It reads the log, never the FIFO, and may run at any time.
PATH=$PATH:/usr/lib/standpipe/bin
reader logs nginx-access --logs /var/log/standpipe ${1:+--since "$1"} |
    goaccess --no-global-config --log-format='%h %^ %e [%d:%t %^] "%r" %s %b "%R" "%u" %^' \
        --date-format=%d/%b/%Y --time-format=%T -o "${FORMAT:-html}" -
