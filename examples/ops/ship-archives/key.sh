# The key of an archive in a bucket; the hooks `outbox` and `put` read this file:
#
#   v1/pipe=P/date=YYYY-MM-DD/host=H/PART.LAST.LINES.SHA8.log.zst
#
# date is the day of the first arrival and LAST the second of the last one, both in UTC. LINES counts newlines. SHA8 is
# the beginning of the archive's SHA-256: whatever has this key has this content. In P, H and PART every byte but
# A-Z a-z 0-9 . _ - is written as %XX. H is the name that the hook is given; without one it is made from the machine id,
# which itself should not leave the machine (machine-id(5)): sha256sum /etc/machine-id | cut -c 1-12

LC_ALL=C
export LC_ALL

fail() {
    echo "${0##*/}: $1" >&2
    exit 1
}

# Sets `encoded` to $1, percent-encoded.
encode() {
    case $1 in
    *[!A-Za-z0-9._-]*)
        encoded=$(printf %s "$1" | od -An -v -tu1 | awk '{
            for (i = 1; i <= NF; i++) {
                byte = sprintf("%c", $i + 0)
                if ($i < 128 && byte ~ /[A-Za-z0-9._-]/) printf "%s", byte; else printf "%%%02X", $i
            }
        }')
        ;;
    *) encoded=$1 ;;
    esac
}

# Sets `sum`, the SHA-256 of the archive, and `key`, for the host $1.
set_key() {
    [ -n "${STANDPIPE_ARCHIVE-}" ] || fail 'STANDPIPE_ARCHIVE is not set: reader runs this as a hook'
    if [ -n "$1" ]; then
        sums=$(sha256sum -- "$STANDPIPE_ARCHIVE") || exit 1
        encode "$1"
    else
        id=
        { read -r id </etc/machine-id; } 2>/dev/null || true
        case $id in
        *[!0-9a-f]* | '') fail 'cannot name this host: /etc/machine-id has no id; give a name to the hook' ;;
        esac
        sums=$(sha256sum -- "$STANDPIPE_ARCHIVE" /etc/machine-id) || exit 1
        encoded=${sums##*
}
        encoded=${encoded%"${encoded#????????????}"}
    fi
    host=$encoded
    # sha256sum puts a backslash before the sum where the path has one.
    sum=${sums#\\}
    sum=${sum%% *}
    encode "$STANDPIPE_PIPE"
    pipe=$encoded
    part=${STANDPIPE_ARCHIVE##*/}
    encode "${part%.log.zst}"
    part=$encoded
    # 2026-11-21T10:00:01.123456789Z; a colon in a key troubles Hadoop and its kin.
    last=${STANDPIPE_LAST%%[.Z]*}
    minute=${last#*:}
    last=${last%%:*}-${minute%:*}-${minute#*:}Z
    key=v1/pipe=$pipe/date=${STANDPIPE_FIRST%%T*}/host=$host
    key=$key/$part.$last.$STANDPIPE_LINES.${sum%"${sum#????????}"}.log.zst
}
