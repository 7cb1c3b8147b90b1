# What a person sees when a start cannot work: what is wrong and what to do, no stack trace, and every byte still as it was.

# complains NAME EXIT FOLDER PATTERN… [-- SETTING=VALUE…]: the start must end with EXIT and say every pattern.
complains() {
  local name=$1 expected=$2 folder=$3 patterns=() code=0
  shift 3
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    patterns+=("$1")
    shift
  done
  [ $# -eq 0 ] || shift
  launch complaint "$folder" "$@"
  until_true 20 gone "$pid" || { kill -KILL "$pid"; fail "$name" 'it started'; return; }
  wait "$pid" || code=$?
  grep -v '^{' "$work/complaint.log" >"$work/complaint.said"
  [ "$code" -eq "$expected" ] || { fail "$name" "exit $code: $(head -n 2 "$work/complaint.said" | tr '\n' ' ')"; return; }
  local pattern
  for pattern in "${patterns[@]}"; do
    grep -qi -- "$pattern" "$work/complaint.said" || { fail "$name" "says nothing of $pattern: $(head -n 2 "$work/complaint.said" | tr '\n' ' ')"; return; }
  done
  if grep -q '^ *at .*:[0-9]' "$work/complaint.log"; then fail "$name" 'a stack trace'; return; fi
  if [ "$(wc -l <"$work/complaint.said")" -gt $((${#patterns[@]} + 3)) ]; then fail "$name" "$(wc -l <"$work/complaint.said") lines"; return; fi
  ok "$name"
}

complains 'start three wrong settings' 2 "$work/unused" '3 settings' FLEETPULSE_MQTTS_PORT FLEETPULSE_API_PORT FLEETPULSE_BROKER_CONNECTIONS_MAX -- \
  FLEETPULSE_MQTTS_PORT=99999 FLEETPULSE_API_PORT=eighty FLEETPULSE_BROKER_CONNECTIONS_MAX=0
check 'start wrong settings make no folder' test ! -e "$work/unused"
for setting in MQTTS WSS HTTPS API PKI_HTTP; do
  complains "start $setting port in use" 1 "$work/ports" "${api##*:}" 'in use' "FLEETPULSE_${setting}_PORT" -- "FLEETPULSE_${setting}_PORT=${api##*:}"
done
touch "$work/file"
complains 'start folder below a file' 1 "$work/file/data" "$work/file/data" 'FLEETPULSE_DATA'
complains 'start folder that is a file' 1 "$work/file" "$work/file" 'FLEETPULSE_DATA'
complains 'start folder that cannot be written' 1 /proc/fleetpulse /proc/fleetpulse 'FLEETPULSE_DATA'
complains 'start folder of a running platform' 1 "$data" 'in use' "$main_pid" 'FLEETPULSE_DATA'
check 'start the running platform goes on' test "$(status_of "$api/readyz")" = 200

start_platform whole && device whole-1 && publish whole-1 -i whole-1 -t devices/whole-1/telemetry -m '{"values":{"n":1}}' && stop_platform "$pid"
# The spoilt file, and all that no healthy store keeps for itself.
contents() { (cd "$work/damaged" && find "$1" pki format.json admin-token -type f -exec sha256sum {} + | sort -u); }
same() { contents "$1" | diff "$work/before" -; }
# damaged NAME FILE COMMAND PATTERN…: a start on a copy of the folder with FILE spoilt by COMMAND complains, and overwrites nothing.
damaged() {
  local name=$1 file=$2 spoil=$3
  shift 3
  rm -rf "$work/damaged"
  cp -a "$work/whole" "$work/damaged"
  "$spoil" "$work/damaged/$file"
  contents "$file" >"$work/before"
  complains "start $name" 1 "$work/damaged" "$@"
  check "start $name overwrites nothing" same "$file"
}
newer() { echo '{"format":1000}' >"$1"; }
garbage() { head -c 65536 /dev/urandom >"$1"; }
cut_short() { truncate -s 5000 "$1"; }
damaged 'folder of a newer version' format.json newer 'format 1000' 'newer version'
for store in series/series.duckdb log/data.mdb documents/data.mdb; do
  damaged "garbage in $store" "$store" garbage "$(dirname "$store")" 'backup'
  damaged "$store cut short" "$store" cut_short "$(dirname "$store")" 'backup'
done

# SIGTERM while devices publish as fast as they can.
if start_platform loaded; then
  for n in 1 2 3; do
    device "load-$n"
    yes '{"values":{"n":1}}' | publish "load-$n" -l -i "load-$n" -t "devices/load-$n/telemetry" >/dev/null 2>&1 &
    started="$started $!"
  done
  under_load() { [ "$(call GET '/api/v1/ledger?summary=true' | json "['stored']")" -gt 1000 ]; }
  check 'stop is under load' until_true 20 under_load
  at=$(now_ms)
  check 'stop by SIGTERM exits with 0 within 10 s' stop_platform "$pid"
  echo "stopped in $(($(now_ms) - at)) ms"
  check 'stop gives the folder back' test ! -e "$data/lock"
else
  fail 'stop platform starts' "$(tail -n 1 "$work/loaded.log")"
fi
use_platform main "$main_pid"
