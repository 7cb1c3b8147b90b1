#!/usr/bin/env bash
# Judges the platform by clients and testers from outside; see README.md. run.sh [CHECK…]
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/.cache/outside-tools
work=$(mktemp -d)
started=''
# shellcheck source=lib.sh
. "$here/lib.sh"

finish() {
  # shellcheck disable=SC2086
  [ -z "$started" ] || kill -KILL $started 2>/dev/null
  if [ -n "${OUTSIDE_KEEP:-}" ]; then echo "kept $work"; else rm -rf "$work"; fi
}
trap finish EXIT

# tool NAME PACKAGE: a Python tool in a folder of its own, so that their requirements do not meet.
tool() {
  [ -x "$tools/$1/bin/python" ] && "$tools/$1/bin/pip" show --quiet "${2%%=*}" 2>/dev/null && return
  python3 -m venv "$tools/$1" && "$tools/$1/bin/pip" install --quiet --disable-pip-version-check "$2"
}
install_tools() {
  local missing=()
  command -v mosquitto_rr >/dev/null || missing+=(mosquitto-clients)
  command -v promtool >/dev/null || missing+=(prometheus)
  command -v curl >/dev/null || missing+=(curl)
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" || return
  fi
  tool sslyze sslyze==6.3.0 && tool boofuzz boofuzz==0.4.2 && tool schemathesis schemathesis==4.32.0
}

check 'tools are there' install_tools
checks=("$@")
[ $# -gt 0 ] || checks=(tls devices est est-bouncycastle lint metrics expired start-errors fuzz api)
if start_platform main FLEETPULSE_BROKER_CONNECT_RATE_PER_S=10000 FLEETPULSE_BROKER_CONNECT_BURST_MAX=100000; then
  ok 'platform starts'
  main_pid=$pid
  for part in "${checks[@]}"; do
    echo "# $part"
    # shellcheck disable=SC1090
    . "$here/$part.sh"
  done
  check 'platform ends cleanly' stop_platform "$main_pid"
else
  fail 'platform starts' "$(tail -n 1 "$work/main.log")"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
