# zlint (Go module proxy) judges our certificates and CRLs by its lints for RFC 5280, 5480 and 5891; those of the web's CAs are not for a private PKI.
lint_dir=$work/lint
fetch_zlint() {
  [ -x "$tools/zlint/zlint" ] && return
  mkdir -p "$tools/zlint/module" && (
    cd "$tools/zlint/module" && printf 'module lint\n\ngo 1.21\n' >go.mod && export GOPATH=$tools/zlint/go GOFLAGS='-mod=mod -modcacherw' &&
      go get github.com/zmap/zlint/v3@v3.6.1 && go build -o ../zlint github.com/zmap/zlint/v3/cmd/zlint
  )
}
collect_for_lint() {
  mkdir -p "$lint_dir" && FLEETPULSE_DATA=$data node "$main" provision device lint-1 --out "$lint_dir/device" >/dev/null &&
    FLEETPULSE_DATA=$data node "$main" provision claim lint --devices-max 1 --out "$lint_dir/claim" >/dev/null || return
  local name
  for name in device claim; do openssl x509 -in "$lint_dir/$name/cert.pem" -out "$lint_dir/$name.pem" || return; done
  openssl x509 -in "$data/pki/server.pem" -out "$lint_dir/server.pem" && cp "$data/pki/root.crt" "$lint_dir/root.pem" &&
    cp "$data/pki/issuing.crt" "$lint_dir/issuing.pem" || return
  for name in root issuing issuing.delta; do
    curl -sSf "$pki/crl/$name.crl" | openssl crl -inform DER -out "$lint_dir/$name.crl.pem" || return
  done
}
# lint FILE: zlint takes it, and none of its lints warns or worse.
lint() {
  local said
  said=$("$tools/zlint/zlint" -includeSources RFC5280,RFC5480,RFC5891 "$lint_dir/$1.pem") || return
  grep -q '"result":"pass"' <<<"$said" || { echo 'no lint passed'; return 1; }
  ! grep -oE '"[a-z_0-9]+":\{"result":"(warn|error|fatal)"' <<<"$said"
}
if command -v go >/dev/null; then
  check 'zlint is there' fetch_zlint
  check 'certificates and CRLs to lint' collect_for_lint
  for one in root issuing server device claim root.crl issuing.crl issuing.delta.crl; do check "zlint: $one" lint "$one"; done
else
  echo 'NOT TESTED: zlint, there is no go'
fi
