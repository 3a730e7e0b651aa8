#!/usr/bin/env bash
# A server that insists on a regular file: nginx writes access.log, logrotate copies and truncates it under load, and
# the tailer, killed now and then, brings every line into the pipe that the reader drains. Needs cargo, bash, nginx,
# logrotate and ab (apache2-utils). Everything lies in target/follow-nginx, which each run makes anew.
set -euo pipefail
cd "$(dirname "$0")/.."

requests=${REQUESTS:-40000}
PATH=$PATH:/usr/sbin
for tool in nginx logrotate ab; do
    command -v "$tool" > /dev/null || { echo "needs $tool: apt-get install nginx-light logrotate apache2-utils" >&2; exit 2; }
done

echo "building holder, reader and tailer, which takes two minutes or so the first time ..."
cargo build --release --locked -p standpipe-holder -p standpipe-reader -p standpipe-tailer
bin=$PWD/${CARGO_TARGET_DIR:-target}/release
[ -x "$bin/reader" ] || bin=${CARGO_TARGET_DIR:-}/release
scratch=$PWD/target/follow-nginx
rm -rf "$scratch"
mkdir -p "$scratch"/{run,pipes.d,www,nginx}
cd "$scratch"

nginx_pid=''
finish() {
    local code=$?
    trap - EXIT
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    jobs -p | xargs -r kill 2>/dev/null || true
    wait 2>/dev/null || true
    [ "$code" = 0 ] || echo "FAILED; what was written lies in $scratch" >&2
    exit "$code"
}
trap finish EXIT

until_true() {
    for _ in {1..200}; do
        "$@" > /dev/null 2>&1 && return
        sleep 0.05
    done
    echo "not within 10 s: $*" >&2
    return 1
}

# 1. One pipe, with a staging pipe beside it, so that the tailer's lines go in exactly once.
mkfifo run/nginx
ln -s ../run/nginx pipes.d/nginx
printf 'logs = "../logs"\nkeep_free = "off"\n' > pipes.d/defaults.toml
echo 'stage = true' > pipes.d/nginx.toml
"$bin/holder" pipes.d 2> holder.log &
"$bin/reader" pipes.d 2> reader.log &
reader_pid=$!
until_true test -p run/nginx.stage
until_true grep recovered reader.log

# 2. nginx with an ordinary log file; each line has an identity of its own.
echo hello > www/index.html
cat > nginx/nginx.conf <<CONF
daemon off;
worker_processes 2;
pid $scratch/nginx/pid;
error_log $scratch/nginx/error.log;
events { worker_connections 256; }
http {
    log_format numbered '\$remote_addr [\$time_local] "\$request" \$status id=\$request_id';
    access_log $scratch/nginx/access.log numbered;
    client_body_temp_path $scratch/nginx/body;
    proxy_temp_path $scratch/nginx/proxy;
    fastcgi_temp_path $scratch/nginx/fastcgi;
    uwsgi_temp_path $scratch/nginx/uwsgi;
    scgi_temp_path $scratch/nginx/scgi;
    server { listen unix:$scratch/nginx/socket; listen 127.0.0.1:${PORT:-8089}; root $scratch/www; }
}
CONF
nginx -c "$scratch/nginx/nginx.conf" -e "$scratch/nginx/error.log" 2>> nginx/error.log &
nginx_pid=$!
until_true test -e nginx/access.log

# 3. The tailer: which file goes into which pipe.
cat > tailer.toml <<'TOML'
state_file = "tailer-state.json"
[[files]]
path = "nginx/access.log"
pipe = "run/nginx"
start_at = "beginning"
TOML
start_tailer() {
    "$bin/tailer" --config tailer.toml 2>> tailer.log &
    tailer_pid=$!
}
start_tailer

# 4. Load, logrotate with copytruncate in the middle of it, and a tailer that dies.
cat > logrotate.conf <<CONF
$scratch/nginx/access.log {
    copytruncate
    rotate 100
    size 1
    nocompress
}
CONF
chmod 0600 logrotate.conf
echo "$requests requests, logrotate with copytruncate every half second, the tailer killed after each ..."
ab -q -k -n "$requests" -c 8 "http://127.0.0.1:${PORT:-8089}/" > ab.log 2>&1 &
ab_pid=$!
rotations=0 kills=0
while kill -0 "$ab_pid" 2>/dev/null || ((rotations < 5)); do
    sleep 0.5
    logrotate -f -s "$scratch/logrotate.state" logrotate.conf
    rotations=$((rotations + 1))
    kill -KILL "$tailer_pid"
    wait "$tailer_pid" 2>/dev/null || true
    start_tailer
    kills=$((kills + 1))
done
wait "$ab_pid"

# 5. Stop in order: the tailer reads what is there, the reader takes what the pipe holds.
sleep 1
kill -TERM "$tailer_pid"
wait "$tailer_pid"
kill -TERM "$reader_pid"
wait "$reader_pid"

# 6. Count. What logrotate's copy misses was destroyed by its truncation; the tailer may have read it all the same.
ids() { grep -o 'id=[0-9a-f]*' | sort; }
"$bin/reader" logs nginx --logs logs | ids > delivered
cat nginx/access.log* | ids > on-disk
lines=$(wc -l < delivered)
distinct=$(uniq delivered | wc -l)
destroyed=$((requests - $(sort -u on-disk delivered | wc -l)))
lost=$(comm -13 <(uniq delivered) <(uniq on-disk) | wc -l)
cat <<TEXT

  requests        $requests
  lines found     $lines
  lost            $lost     of those that a rotated copy has
  repeated        $((lines - distinct))
  destroyed       $destroyed     between the copy and the truncation, before anybody could read them
  rotations       $rotations with copytruncate, by logrotate
  tailer killed   $kills times with SIGKILL
  they lie in     $scratch/logs

What to try next, in that directory:
  $bin/reader logs nginx --logs logs | tail -3
  cat tailer.log
TEXT
[ "$lost $((lines - distinct))" = "0 0" ]
