# Shared by the checks: counting, starting the platform, waiting. Sourced by run.sh; needs $root, $tools and $work.

passed=0
failed=0
main=${FLEETPULSE_MAIN:-$root/dist/cli/main.js}

ok() {
  passed=$((passed + 1))
  echo "ok $1"
}

fail() {
  failed=$((failed + 1))
  echo "FAILED $1 ${2:-}"
}

# check NAME COMMAND…: the command must succeed; its last line of output is the reason when it does not.
check() {
  local name=$1
  shift
  if "$@" >"$work/check.out" 2>&1; then ok "$name"; else fail "$name" "$(tail -n 1 "$work/check.out" | cut -c1-300)"; fi
}

# refused NAME COMMAND…: the command must fail, and by itself: ending it for lack of time (124) is no refusal.
refused() {
  local name=$1 code=0
  shift
  "$@" >"$work/check.out" 2>&1 || code=$?
  case $code in
    0) fail "$name" 'was let through' ;;
    124 | 137) fail "$name" 'no answer in time' ;;
    *) ok "$name" ;;
  esac
}

# until_true SECONDS COMMAND…: repeats the command until it succeeds.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
json() { python3 -c "import json,sys; print(json.load(sys.stdin)$1)"; }

# start_platform NAME [SETTING=VALUE…]: starts one on free ports in $work/NAME, and goes on with it.
start_platform() {
  local name=$1
  shift
  launch "$name" "$work/$name" "$@"
  if ! until_true 30 answered "$name" "$pid" || ! grep -q '"ready":true' "$work/$name.ready"; then
    tail -n 5 "$work/$name.log"
    return 1
  fi
  use_platform "$name" "$pid"
}

# use_platform NAME PID: sets pid, data, token, api, mqtts, wss, https, pki and lab to those of one that was started.
use_platform() {
  local key
  for key in api mqtts wss https pki lab; do printf -v "$key" '%s' "$(json "['$key']" <"$work/$1.ready")"; done
  pid=$2 data=$work/$1
  token=$(cat "$data/admin-token")
}

# launch NAME DATA [SETTING=VALUE…]: the process alone, without waiting.
launch() {
  local name=$1 folder=$2
  shift 2
  env FLEETPULSE_DATA="$folder" FLEETPULSE_MQTTS_PORT=0 FLEETPULSE_WSS_PORT=0 FLEETPULSE_HTTPS_PORT=0 FLEETPULSE_API_PORT=0 \
    FLEETPULSE_PKI_HTTP_PORT=0 FLEETPULSE_LAB_MQTT_PORT=0 "$@" node "$main" start --print-ready >"$work/$name.ready" 2>"$work/$name.log" </dev/null &
  pid=$!
  started="$started $pid"
}

answered() { grep -q ready "$work/$1.ready" || ! kill -0 "$2" 2>/dev/null; }

# stop_platform PID: asks it to end; its exit code, or 124 after ten seconds.
stop_platform() {
  kill -TERM "$1" 2>/dev/null
  until_true 10 gone "$1" || return 124
  wait "$1"
}

gone() { ! kill -0 "$1" 2>/dev/null || [ "$(cut -d' ' -f3 "/proc/$1/stat" 2>/dev/null)" = Z ]; }

# The operator API as the administrator: call METHOD PATH [BODY]
call() { curl -sS --max-time 10 -X "$1" "$api$2" -H "authorization: bearer $token" ${3:+-H 'content-type: application/json' -d "$3"}; }
status_of() { curl -sS --max-time 10 -o /dev/null -w '%{http_code}' "$@"; }

# device ID: provisions one into $work/ID.
device() { timeout 60 node "$main" provision device "$1" --out "$work/$1" --data "$data" >"$work/provision.out" 2>&1; }

# publish FOLDER ARGUMENTS…: mosquitto_pub with the certificate in a device's folder.
publish() {
  local folder=$work/$1
  shift
  timeout 10 mosquitto_pub -h localhost -p "$mqtts" --cafile "$folder/ca.pem" --cert "$folder/cert.pem" --key "$folder/key.pem" -q 1 "$@"
}
