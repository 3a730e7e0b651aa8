#!/usr/bin/env bash
# The main job in half a minute, once it is built: servers log through named pipes into compressed archives, while the reader is
# killed over and over, and every line comes back out. Needs cargo and bash. Everything lies in target/quickstart,
# which each run makes anew; the programs are stopped at the end, whatever happens.
set -euo pipefail
cd "$(dirname "$0")/.."

lines=${LINES_PER_WRITER:-80000}

echo "building holder, reader and tailer, which takes two minutes or so the first time ..."
cargo build --release --locked -p standpipe-holder -p standpipe-reader -p standpipe-tailer
bin=$PWD/${CARGO_TARGET_DIR:-target}/release
[ -x "$bin/reader" ] || bin=${CARGO_TARGET_DIR:-}/release
scratch=$PWD/target/quickstart
rm -rf "$scratch"
mkdir -p "$scratch"/{run,pipes.d}
cd "$scratch"

reader_pid='' holder_pid=''
finish() {
    local code=$?
    trap - EXIT
    # Everything of ours still running, gently: writers, holder, reader.
    jobs -p | xargs -r kill 2>/dev/null || true
    wait 2>/dev/null || true
    [ "$code" = 0 ] || echo "FAILED; what was written lies in $scratch" >&2
    exit "$code"
}
trap finish EXIT

# 1. A FIFO for each server, and a directory of links to them: that is the whole configuration.
for pipe in web db mail; do
    mkfifo "run/$pipe"
    ln -s "../run/$pipe" "pipes.d/$pipe"
done
cat > pipes.d/defaults.toml <<'TOML'
logs = "../logs"
rotate_size = "2MiB"
keep_free = "off"
TOML
echo 'stamp = "iso"' > pipes.d/mail.toml

# 2. The holder keeps the pipes open, the reader drains them.
"$bin/holder" pipes.d 2> holder.log &
holder_pid=$!
start_reader() {
    "$bin/reader" pipes.d 2>> reader.log &
    reader_pid=$!
}
start_reader
for _ in {1..200}; do
    grep -qs 'recovered' reader.log && break
    sleep 0.05
done

# 3. Servers write line by line, as to a log file; three of them share the pipe `web`.
write() {
    local name=$1 i
    for ((i = 1; i <= lines; i++)); do
        printf '%s %d GET /item/%d HTTP/1.1 200 %d "-" "some agent/1.0"\n' "$name" "$i" $((i * 7919 % 1000)) $((i % 977))
    done
}
writers=()
for writer in web-1 web-2 web-3 db-1 mail-1; do
    write "$writer" > "run/${writer%-*}" &
    writers+=($!)
done

# 4. Meanwhile the reader dies, again and again, without a warning.
kills=0
echo "writing $((${#writers[@]} * lines)) lines through 3 pipes, killing the reader meanwhile ..."
while kill -0 "${writers[@]}" 2>/dev/null || ((kills < 20)); do
    sleep "0.$((RANDOM % 20 + 10))"
    kill -KILL "$reader_pid"
    wait "$reader_pid" 2>/dev/null || true
    start_reader
    kills=$((kills + 1))
done
wait "${writers[@]}"

# 5. Rotate, stop in order: a reader that is told to stop empties the pipes first.
for _ in {1..200}; do
    [ "$(grep -c recovered reader.log)" -gt "$kills" ] && break
    sleep 0.05
done
kill -ALRM "$reader_pid"
for _ in {1..200}; do
    sleep 0.05
    [ -z "$(find logs -name '*.log' -size +0)" ] && break
done
kill -TERM "$reader_pid"
wait "$reader_pid"

# 6. Read everything back and count.
for pipe in web db mail; do
    "$bin/reader" logs "$pipe" --logs logs | if [ "$pipe" = mail ]; then cut -d' ' -f2-; else cat; fi
done > read-back
report=$(awk -v lines="$lines" '
    { n++; if ($2 == last[$1] + 1) last[$1] = $2
           else if ($2 <= last[$1]) repeated++
           else { lost += $2 - last[$1] - 1; last[$1] = $2 } }
    NF != 10 { torn++ }
    END { for (w in last) { writers++; lost += lines - last[w] }
          lost += (5 - writers) * lines
          printf "%d %d %d %d", n, lost, repeated, torn }' read-back)
read -r found lost repeated torn <<< "$report"
raw=$(wc -c < read-back)
stored=$(cat logs/*/*.log.zst | wc -c)
archives=$(find logs -name '*.log.zst' | wc -l)
rm read-back
zstd=$(command -v zstdcat || true)

cat <<TEXT

  lines written   $((${#writers[@]} * lines))     by ${#writers[@]} writers, none of which noticed
  lines found     $found
  lost            $lost
  repeated        $repeated
  torn            $torn
  reader killed   $kills times with SIGKILL
  archives        $archives, $raw bytes of text in $stored bytes (1 : $((raw / stored)))
  they lie in     $scratch/logs

What to try next, in that directory:
  $bin/reader logs db --logs logs | tail -3
  ls -l logs/web
${zstd:+  zstdcat logs/web/*.zst | head -3
}  cat reader.log
TEXT
[ "$found $lost $repeated $torn" = "$((${#writers[@]} * lines)) 0 0 0" ]
