import { DEVICE_ID_PATTERN, TENANT_PATTERN } from './device.ts'

/** Who a device certificate says it is. */
export interface DeviceIdentity {
  tenant: string
  device: string
}

/** The subject alternative name of a device certificate. */
export function deviceUri(tenant: string, device: string): string {
  return `urn:fleetpulse:${tenant}:${device}`
}

const tenantPart = TENANT_PATTERN.slice(1, -1)
const devicePart = DEVICE_ID_PATTERN.slice(1, -1)
const uriExpression = new RegExp(`^urn:fleetpulse:(${tenantPart}):(${devicePart})$`)

const nameExpression = /[A-Za-z][A-Za-z ]*:(?:"(?:[^"\\]|\\.)*"|[^,"]*)/g

/** Reads one URI; undefined when it is not a device's. */
export function identityOfUri(uri: string): DeviceIdentity | undefined {
  const match = uriExpression.exec(uri)
  return match === null ? undefined : { tenant: match[1] as string, device: match[2] as string }
}

/**
 * Identity of a certificate whose chain was verified: exactly one SAN URI of ours, and a CN equal to its device id.
 * `subjectAltName` is Node's text (`URI:urn:…, DNS:…`): Node puts quotes around a value that could be taken for several, so a quoted
 * part is one value, whatever it holds.
 */
export function identityOfCertificate(commonName: unknown, subjectAltName: string | undefined): DeviceIdentity | undefined {
  const uris = ((subjectAltName ?? '').match(nameExpression) ?? []).filter((name) => name.startsWith('URI:'))
  const found = uris.map((name) => identityOfUri(name.slice('URI:'.length))).filter((identity) => identity !== undefined)
  const identity = found[0]
  if (found.length !== 1 || identity === undefined || identity.device !== commonName) return undefined
  return identity
}
