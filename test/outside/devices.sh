# Certificates of devices, by mosquitto's clients and openssl: who gets in, who does not, and who is thrown out.
device pump-1
device pump-2
telemetry='{"values":{"temperature":21.5}}'

stored() { [ "$(call GET "/api/v1/readings?device=$1" | json "['items'].__len__()")" -ge "$2" ]; }

check 'devices own topic is taken' publish pump-1 -i pump-1 -t devices/pump-1/telemetry -m "$telemetry"
check 'devices reading is stored' until_true 10 stored pump-1 1
refused 'devices foreign topic' publish pump-1 -i pump-1 -t devices/pump-2/telemetry -m "$telemetry"
refused 'devices foreign client id' publish pump-1 -i pump-2 -t devices/pump-2/telemetry -m "$telemetry"
check 'devices foreign filter is refused' bash -c "timeout 10 mosquitto_sub -h localhost -p $mqtts --cafile $work/pump-1/ca.pem --cert $work/pump-1/cert.pem \
  --key $work/pump-1/key.pem -i pump-1 -q 1 -t devices/pump-2/telemetry -W 3 2>&1 | grep -qi 'denied\|refused\|rejected'"

# stranger FOLDER: the files of a device with a certificate that we did not issue.
stranger() {
  mkdir -p "$work/$1"
  cp "$work/pump-1/ca.pem" "$work/$1/ca.pem"
  openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1/key.pem"
}
stranger self-signed
openssl req -x509 -new -key "$work/self-signed/key.pem" -subj /O=default/CN=pump-1 -addext subjectAltName=URI:urn:fleetpulse:default:pump-1 \
  -days 2 -out "$work/self-signed/cert.pem"
stranger other-ca
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/other-ca/ca.key" -subj '/CN=Another CA' -days 2 -out "$work/other-ca/ca.crt" 2>/dev/null
openssl req -new -key "$work/other-ca/key.pem" -subj /O=default/CN=pump-1 -out "$work/other-ca/csr.pem"
openssl x509 -req -in "$work/other-ca/csr.pem" -CA "$work/other-ca/ca.crt" -CAkey "$work/other-ca/ca.key" -CAcreateserial -days 2 \
  -extfile <(echo subjectAltName=URI:urn:fleetpulse:default:pump-1) -out "$work/other-ca/cert.pem" 2>/dev/null
refused 'devices self-signed certificate' publish self-signed -i pump-1 -t devices/pump-1/telemetry -m "$telemetry"
refused 'devices certificate of another CA' publish other-ca -i pump-1 -t devices/pump-1/telemetry -m "$telemetry"
refused 'devices no certificate' timeout 10 mosquitto_pub -h localhost -p "$mqtts" --cafile "$work/pump-1/ca.pem" -i pump-1 -q 1 -t devices/pump-1/telemetry -m x

serial=$(openssl x509 -in "$work/pump-1/cert.pem" -noout -serial | cut -d= -f2)
timeout 30 stdbuf -oL mosquitto_sub -d -h localhost -p "$mqtts" --cafile "$work/pump-1/ca.pem" --cert "$work/pump-1/cert.pem" --key "$work/pump-1/key.pem" \
  -i pump-1 -q 1 -t 'devices/pump-1/commands/+' >"$work/revoked.out" 2>&1 &
subscriber=$!
started="$started $subscriber"
dropped() { grep -qi 'connection was lost\|OpenSSL Error\|unexpected eof' "$work/revoked.out" || gone "$subscriber"; }
if until_true 10 grep -q SUBACK "$work/revoked.out"; then
  at=$(now_ms)
  revoking=$(call POST "/api/v1/certificates/${serial,,}/revoke" '{"reason":"keyCompromise"}' | json "['state']")
  if [ "$revoking" = revoked ] && until_true 5 dropped; then
    took=$(($(now_ms) - at))
    if [ "$took" -lt 1000 ]; then ok "devices revoked session is gone ($took ms)"; else fail 'devices revoked session is gone' "only after $took ms"; fi
  else
    fail 'devices revoked session is gone' "$revoking"
  fi
else
  fail 'devices revoked session is gone' 'the subscriber did not come in'
fi
kill "$subscriber" 2>/dev/null
refused 'devices revoked certificate comes back' publish pump-1 -i pump-1 -t devices/pump-1/telemetry -m "$telemetry"

verified() { openssl verify -crl_check -CAfile "$work/pump-1/ca.pem" -CRLfile "$work/crl.pem" "$work/$1/cert.pem"; }
crl=$(openssl x509 -in "$work/pump-1/cert.pem" -noout -ext crlDistributionPoints | sed -n 's/.*URI://p')
check 'devices CRL is at the address in the certificate' curl -sSf --max-time 10 "$crl" -o "$work/crl.der"
openssl crl -inform DER -in "$work/crl.der" -out "$work/crl.pem"
check 'devices CRL lets the other device through' verified pump-2
refused 'devices CRL names the revoked one' verified pump-1
issuer=$work/issuer.pem
awk '/BEGIN/ { n++ } n == 2' "$work/pump-1/cert.pem" >"$issuer"
ocsp() { openssl ocsp -issuer "$issuer" -cert "$work/$1/cert.pem" -url "$pki/ocsp" -CAfile "$work/pump-1/ca.pem" 2>&1 | tee /dev/stderr | grep -q "$2"; }
if openssl x509 -in "$work/pump-1/cert.pem" -noout -ocsp_uri | grep -q .; then
  check 'devices OCSP knows the revoked one' ocsp pump-1 revoked
  check 'devices OCSP knows the good one' ocsp pump-2 good
fi
