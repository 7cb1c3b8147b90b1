# The operator API against its own OpenAPI document, by schemathesis; bounded in cases and time.
# Left out: "positive_data_acceptance". A cursor, a time or a URL can fit its schema and still be refused with 400.
probed() {
  timeout "${OUTSIDE_API_SECONDS:-240}" "$tools/schemathesis/bin/schemathesis" run "$api/openapi.json" --seed 1 -H "Authorization: Bearer $token" \
    -n "${OUTSIDE_API_EXAMPLES:-10}" --continue-on-failure --exclude-checks positive_data_acceptance >"$work/schemathesis.out" 2>&1 && return
  sed -n '/=== SUMMARY/,$p; / ST[0-9]* /p' "$work/schemathesis.out" | grep -E '❌|🚫|ST[0-9]' | tr -s ' \n' ' '
  return 1
}
check 'api answers as its document says' probed
for method in DELETE PUT QUERY; do
  check "api $method on a list is 405 with Allow" bash -c "curl -sS --max-time 10 -o /dev/null -D - -X $method '$api/api/v1/readings' | tr -d '\r' | grep -c '^HTTP.* 405\|^[Aa]llow: GET' | grep -qx 2"
done
answers() { [ "$(status_of "${@:2}")" = "$1" ]; }
check 'api without token is 401' answers 401 "$api/api/v1/devices"
check 'api names the wrong field' bash -c "curl -sS --max-time 10 '$api/api/v1/readings?from=never' -H 'authorization: bearer $token' | grep -q '\"field\":\"from\"'"
check 'api is alive and ready' answers 200 "$api/readyz"
