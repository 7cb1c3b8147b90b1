# Enrolment over EST (RFC 7030) by curl and openssl alone.
est=https://localhost:$https/.well-known/est
cp "$work/pump-2/ca.pem" "$work/est-ca.pem"
ask() { curl -sSf --max-time 15 --cacert "$work/est-ca.pem" "$@"; }
certificates() { base64 -d <"$1" | openssl pkcs7 -inform DER -print_certs; }

# enrol NAME ENDPOINT CREDENTIALS…: posts the request of est-1, writes NAME.pem.
enrol() {
  local name=$1 endpoint=$2
  shift 2
  ask "$@" -H 'content-type: application/pkcs10' -H 'content-transfer-encoding: base64' --data-binary "@$work/est.b64" "$est/$endpoint" -o "$work/$name.b64" &&
    certificates "$work/$name.b64" >"$work/$name.pem" && openssl verify -CAfile "$work/est-ca.pem" "$work/$name.pem"
}
names_device() { openssl x509 -in "$work/$1.pem" -noout -ext subjectAltName | grep -q 'URI:urn:fleetpulse:default:est-1$'; }
holds_root() { ask "$est/cacerts" -o "$work/cacerts.b64" && certificates "$work/cacerts.b64" | grep -q 'BEGIN CERTIFICATE'; }
names_curve() { ask "$est/csrattrs" -o "$work/csrattrs.b64" && base64 -d <"$work/csrattrs.b64" | openssl asn1parse -inform DER | grep -q prime256v1; }

check 'est cacerts' holds_root
check 'est csrattrs' names_curve
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=est-1 -keyout "$work/est.key" -out "$work/est.csr" 2>/dev/null
openssl req -in "$work/est.csr" -outform DER | base64 >"$work/est.b64"
secret=$(call POST /api/v1/enrolment-tokens '{"deviceId":"est-1","type":"generic"}' | json "['token']")
refused 'est simpleenroll without token' enrol est-no-token simpleenroll
refused 'est simpleenroll with a wrong token' enrol est-wrong simpleenroll -u est-1:wrong
refused 'est simpleenroll for another device' enrol est-other simpleenroll -u "est-2:$secret"
check 'est simpleenroll' enrol est-first simpleenroll -u "est-1:$secret"
check 'est simpleenroll names the device' names_device est-first
refused 'est token works once' enrol est-again simpleenroll -u "est-1:$secret"
refused 'est simplereenroll without certificate' enrol est-none simplereenroll
check 'est simplereenroll' enrol est-second simplereenroll --cert "$work/est-first.pem" --key "$work/est.key"
check 'est simplereenroll keeps the name' names_device est-second
check 'est leaf without its issuer connects' timeout 10 mosquitto_pub -h localhost -p "$mqtts" --cafile "$work/est-ca.pem" --cert "$work/est-second.pem" \
  --key "$work/est.key" -i est-1 -q 1 -t devices/est-1/telemetry -m '{"values":{"level":1}}'
