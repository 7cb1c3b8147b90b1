# Malformed packets by boofuzz: without certificate on the conformance listener, and as a device over TLS. Meanwhile one device sends itself a
# message each second, another publishes telemetry on one connection: neither may notice.
cases=${OUTSIDE_FUZZ_CASES:-20000}
for id in fuzz-1 echo-1 steady-1; do device "$id"; done
rm -f "$work"/echoes "$work"/memory

echo_once() {
  timeout 5 mosquitto_rr -h localhost -p "$mqtts" --cafile "$work/echo-1/ca.pem" --cert "$work/echo-1/cert.pem" --key "$work/echo-1/key.pem" -i echo-1 -q 1 -V 311 \
    -t devices/echo-1/status -e devices/echo-1/status -m "$1" 2>/dev/null
}
echoes() {
  local n=0
  while [ -e "$work/fuzzing" ]; do
    n=$((n + 1))
    [ "$(echo_once "echo $n")" = "echo $n" ] && echo ok >>"$work/echoes" || echo lost >>"$work/echoes"
    sleep 1
  done
}
readings() {
  local n=0
  while [ -e "$work/fuzzing" ]; do
    n=$((n + 1))
    echo "{\"boot\":\"b1\",\"seq\":$n,\"values\":{\"n\":$n}}"
    echo "$n" >"$work/steady.sent"
    sleep 0.5
  done
}
memory() {
  while [ -e "$work/fuzzing" ]; do
    sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status" >>"$work/memory"
    sleep 0.25
  done
}

touch "$work/fuzzing"
echoes &
others=$!
memory &
others="$others $!"
# shellcheck disable=SC2094
readings | timeout 600 stdbuf -oL mosquitto_pub -d -l -q 1 -h localhost -p "$mqtts" --cafile "$work/steady-1/ca.pem" --cert "$work/steady-1/cert.pem" --key "$work/steady-1/key.pem" \
  -i steady-1 -t devices/steady-1/telemetry >"$work/steady.out" 2>&1 &
others="$others $!"
started="$started $others"

sent_all() { [ "$("$tools/boofuzz/bin/python" "$here/fuzz.py" "$@" 2>&1 | tee "$work/fuzz.out" | tail -n 1)" -ge $(($2 - $2 / 50 - 20)) ]; }
check "fuzz $cases packets on the conformance listener" sent_all "$lab" "$cases"
check "fuzz $((cases / 10)) packets as a device over TLS" sent_all "$mqtts" $((cases / 10)) "$work/fuzz-1"
rm "$work/fuzzing"
# shellcheck disable=SC2086
wait $others

# Memory goes up and down with the garbage collector: its lowest of the last quarter must not have climbed above its highest of the first half.
flat() {
  python3 - "$work/memory" <<'PYTHON'
import sys
kib = [int(line) for line in open(sys.argv[1])]
early, late = max(kib[: len(kib) // 2]), min(kib[-len(kib) // 4 :])
print(f'RssAnon: at most {early / 1024:.0f} MiB in the first half, at least {late / 1024:.0f} MiB in the last quarter')
sys.exit(late > early)
PYTHON
}
kept() {
  local sent
  sent=$(cat "$work/steady.sent")
  stored_all() { [ "$(call GET '/api/v1/readings?device=steady-1&limit=10000' | json "['items'].__len__()")" -eq "$sent" ]; }
  until_true 10 stored_all || { echo "$sent sent, $(call GET '/api/v1/readings?device=steady-1&limit=10000' | json "['items'].__len__()") stored"; return 1; }
}
check 'fuzz broker is alive' kill -0 "$pid"
check 'fuzz echoes all came back' bash -c "grep -q ok $work/echoes && ! grep -q lost $work/echoes"
check 'fuzz steady device kept its connection' bash -c "[ \$(grep -c 'received CONNACK (0)' $work/steady.out) -eq 1 ]"
check 'fuzz steady readings are stored' kept
check 'fuzz memory is flat' flat
cat "$work/check.out"
