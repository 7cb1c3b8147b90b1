# Both MQTT listeners and device HTTPS against Mozilla's "intermediate" profile, by sslyze.
# It shows the leaf alone: the old OpenSSL with which sslyze tries SSL 2 cannot load a chain.
device tls-1
openssl x509 -in "$work/tls-1/cert.pem" -out "$work/tls-1/leaf.pem"

compliant() {
  "$tools/sslyze/bin/sslyze" --cert "$work/tls-1/leaf.pem" --key "$work/tls-1/key.pem" --mozilla_config=intermediate \
    --certinfo_ca_file "$work/tls-1/ca.pem" "localhost:$1" >"$work/sslyze.out" 2>&1
  grep -E 'OK - Compliant|FAILED|ERROR' "$work/sslyze.out" | tail -n 1
  grep -q 'OK - Compliant' "$work/sslyze.out"
}

for listener in mqtts wss https; do check "tls $listener is what Mozilla calls intermediate" compliant "${!listener}"; done
