import type { PeerCertificate } from 'node:tls'
import { DEVICE_ID_PATTERN, TENANT_PATTERN } from './device.ts'
import { identityOfCertificate, type DeviceIdentity } from './device-identity.ts'
import { normaliseSerial } from './certificate.ts'

/**
 * Who a verified client certificate is.
 * `device`: one that we issued to a device. `factory`: one of a registered factory CA; tenant and device are what that CA's template makes of its
 * subject, never what the certificate itself claims. `claim`: one that we issued to a production batch; it is no device and may only ask for
 * devices' certificates. `issuer`: key id of the CA of ours that signed it, where that was looked at; with the serial it names the certificate,
 * RFC 5280 §4.1.2.2. The `serial` of a factory's certificate is a hash of the whole of it, its issuer included.
 */
export type Credential =
  | ({ kind: 'device'; serial: string; issuer?: string } & DeviceIdentity)
  | ({ kind: 'factory'; serial: string; authority: string } & DeviceIdentity)
  | { kind: 'claim'; tenant: string; claim: string; serial: string; issuer?: string }

export type FactoryCredential = Extract<Credential, { kind: 'factory' }>
export type ClaimCredential = Extract<Credential, { kind: 'claim' }>

/** Key id of the CA of ours that signed it, where that is known. */
export function issuerOf(credential: Credential): string | undefined {
  return credential.kind === 'factory' ? undefined : credential.issuer
}

export type CredentialReading =
  { status: 'read'; credential: Credential } | { status: 'refused'; reason: 'unknown-ca' | 'identity'; detail: string }

/** What listeners know of whom to trust, in memory, kept up to date while they run. */
export interface Trust {
  /**
   * Who the holder of this certificate is. TLS has checked chain, purpose and time against our CAs and `anchorsPem`; which CA signed it is
   * looked at again here, because it decides what its names may mean.
   */
  read(certificate: PeerCertificate): CredentialReading
  /** Why a credential that was read does not count any more; undefined when it does. */
  lapse(credential: Credential): string | undefined
  /** PEM of what listeners trust besides our own CAs; empty without factory CAs. */
  readonly anchorsPem: string
  /** Calls back when a factory CA or a claim changed; answers the way to stop listening. */
  onChanged(listener: () => void): () => void
}

/** What became of somebody who asked to come in. `pending`: ask again after so long. */
export type DoorAnswer<Granted extends object> =
  | ({ status: 'granted' } & Granted)
  | { status: 'refused'; reason: string; detail: string }
  | { status: 'pending'; retryAfterMs: number; detail: string }

export interface ClaimRequest {
  credential: ClaimCredential
  /** Names the request within its connection, for the answer and the record. */
  requestId: string
  device: string
  /** DER PKCS#10 request, base64. */
  csrBase64: string
  /** Address it came from. */
  origin: string
}

/** Certificates as PEM: the device's own with the CA that issued it, and what the device is to trust. */
export interface GrantedCertificate {
  device: string
  certificatePem: string
  caPem: string
}

/** The doors that decide where the CA key is, as an edge reaches them. Both throw TimeoutError when nobody answers in time. */
export interface RemoteDoors {
  /** A certificate for a device of a production batch. */
  claim(request: ClaimRequest): Promise<DoorAnswer<GrantedCertificate>>
  /** Lets a device with a factory certificate in, registering it when it is new. */
  admitFactory(request: { credential: FactoryCredential; certificatePem: string; origin: string }): Promise<DoorAnswer<object>>
}

const tenantPart = TENANT_PATTERN.slice(1, -1)
const claimPart = DEVICE_ID_PATTERN.slice(1, -1)
/** Of its own, so that no reader of devices' names takes it for one. */
const claimExpression = new RegExp(`^URI:urn:fleetpulse-claim:(${tenantPart}):(${claimPart})$`)

/** The subject alternative name of a claim certificate. */
export function claimUri(tenant: string, claim: string): string {
  return `urn:fleetpulse-claim:${tenant}:${claim}`
}

/** The common name of a claim certificate, and the name under which it is on record: a colon is in no device id. */
export function claimName(claim: string): string {
  return `claim:${claim}`
}

/** Who a certificate of our own CAs is; undefined when it names nobody. `issuer`: key id of the CA that signed it, where that was looked at. */
export function ownCredentialOf(certificate: PeerCertificate, issuer?: string): Credential | undefined {
  const serial = normaliseSerial(certificate.serialNumber)
  if (serial === undefined) return undefined
  const named = { serial, ...(issuer === undefined ? {} : { issuer }) }
  const { CN: commonName } = certificate.subject as { CN?: unknown }
  const claimed = claimExpression.exec(certificate.subjectaltname ?? '')
  if (claimed !== null) {
    const [, tenant, claim] = claimed as unknown as [string, string, string]
    return commonName === claimName(claim) ? { kind: 'claim', tenant, claim, ...named } : undefined
  }
  const identity = identityOfCertificate(commonName, certificate.subjectaltname)
  return identity === undefined ? undefined : { kind: 'device', ...identity, ...named }
}
