/**
 * What a device says besides telemetry, acknowledged after it is durable (schema `device-message/1`):
 * command results on topic `commands`, everything else on `device-events`.
 */
export interface DeviceMessage {
  tenant: string
  device: string
  kind: 'event' | 'status' | 'command-result' | 'twin-reported' | 'certificate-renew' | 'certificate-used' | 'certificate-refused' | 'connected' | 'disconnected'
  receivedAt: number
  correlationId: string
  /** Of `connected`, `certificate-used` (by HTTPS), `certificate-refused` (it is revoked) and `certificate-renew`: the certificate that the device showed, upper-case hex. */
  serial?: string
  /** Command id for `command-result`. */
  commandId?: string
  /** Payload when it is JSON. */
  body?: unknown
  /** Payload otherwise. */
  bodyBase64?: string
}
export const DEVICE_MESSAGE = 'device-message/1'
