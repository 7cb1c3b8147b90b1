# Enrolment by BouncyCastle's EST client (Maven): cacerts, csrattrs, simpleenroll by token, simplereenroll by certificate.
bouncy=$tools/bouncycastle
fetch_bouncy() {
  [ -d "$bouncy/lib" ] && return
  mkdir -p "$bouncy" && cat >"$bouncy/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>outside</groupId><artifactId>est</artifactId><version>1</version>
<dependencies><dependency><groupId>org.bouncycastle</groupId><artifactId>bcpkix-jdk18on</artifactId><version>1.80</version></dependency></dependencies></project>
POM
  mvn -q -B -f "$bouncy/pom.xml" dependency:copy-dependencies -DoutputDirectory="$bouncy/lib"
}
enrol_bouncy() {
  local secret
  secret=$(call POST /api/v1/enrolment-tokens '{"deviceId":"bouncy-1","type":"generic"}' | json "['token']") &&
    timeout 90 java -cp "$bouncy/lib/*" "$here/EstCheck.java" "localhost:$https" "$data/pki/ca.pem" bouncy-1 "$secret"
}
check 'BouncyCastle is there' fetch_bouncy
check "BouncyCastle's EST client enrols and renews" enrol_bouncy
