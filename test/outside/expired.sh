# Certificates that live seconds: good at first, refused once they have run out. Needs a platform of its own.
if start_platform expired FLEETPULSE_PROVISIONING_DEVICE_LIFETIME_DAYS=0.0001 FLEETPULSE_PROVISIONING_BACKDATE_MS=0; then
  device brief-1
  check 'expired certificate is good at first' publish brief-1 -i brief-1 -t devices/brief-1/telemetry -m '{"values":{"n":1}}'
  sleep 9
  refused 'expired certificate' publish brief-1 -i brief-1 -t devices/brief-1/telemetry -m '{"values":{"n":2}}'
  check 'expired certificate is logged with the reason' grep -q certificate-expired "$work/expired.log"
  check 'expired platform ends cleanly' stop_platform "$pid"
else
  fail 'expired platform starts' "$(tail -n 1 "$work/expired.log")"
fi
use_platform main "$main_pid"
