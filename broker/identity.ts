import type { PeerCertificate } from 'node:tls'
import { claimName, issuerOf, ownCredentialOf, type Credential, type Trust } from '../contracts/credential.ts'

/** Who a connection is: what its certificate, verified by TLS, says; never what its client id says. */
export interface SessionIdentity {
  tenant: string
  /** The device id; of a claim its name on record, which is no device id. */
  device: string
  /** Upper-case hex without separators, as openssl prints it. */
  serial: string
  /** Key id of the CA of ours that signed it, where that was looked at. */
  issuer?: string
}

export type IdentityResult =
  | { status: 'identified'; identity: SessionIdentity; credential: Credential }
  | { status: 'refused'; reason: 'identity' | 'unknown-ca'; detail: string }

/** Whom a broker trusts that was told of no factory CAs and no claims: every certificate that TLS verified is a device's of ours. */
export const OWN_CERTIFICATES: Trust = {
  read(certificate) {
    const credential = ownCredentialOf(certificate)
    if (credential !== undefined) return { status: 'read', credential }
    const detail = 'the certificate does not have exactly one SAN URI urn:fleetpulse:TENANT:DEVICE with the device id as its CN'
    return { status: 'refused', reason: 'identity', detail }
  },
  lapse: (credential) => (credential.kind === 'device' ? undefined : 'claims and factory certificates are not taken here'),
  anchorsPem: '',
  onChanged: () => () => undefined,
}

/** Reads the identity from the certificate of a TLS connection. */
export function identityOf(certificate: PeerCertificate | undefined, trust: Trust): IdentityResult {
  // Node answers an empty object when there is no certificate.
  if (certificate?.subject === undefined) return { status: 'refused', reason: 'identity', detail: 'no certificate' }
  const reading = trust.read(certificate)
  if (reading.status === 'refused') return reading
  const { credential } = reading
  const device = credential.kind === 'claim' ? claimName(credential.claim) : credential.device
  const issuer = issuerOf(credential)
  const identity = { tenant: credential.tenant, device, serial: credential.serial, ...(issuer === undefined ? {} : { issuer }) }
  return { status: 'identified', identity, credential }
}
