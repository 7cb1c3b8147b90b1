import type { PeerCertificate } from 'node:tls'
import { normaliseSerial } from '../contracts/certificate.ts'
import { identityOfCertificate } from '../contracts/device-identity.ts'

/** Who a connection is: what its certificate, verified by TLS, says; never what its client id says. */
export interface SessionIdentity {
  tenant: string
  device: string
  /** Upper-case hex without separators, as openssl prints it. */
  serial: string
}

export type IdentityResult = { status: 'identified'; identity: SessionIdentity } | { status: 'refused'; detail: string }

/** Reads the identity from the certificate of a TLS connection. */
export function identityOf(certificate: PeerCertificate | undefined): IdentityResult {
  // Node answers an empty object when there is no certificate.
  if (certificate?.subject === undefined) return { status: 'refused', detail: 'no certificate' }
  // A name with several CNs comes as a list, which equals no device id.
  const found = identityOfCertificate(certificate.subject.CN, certificate.subjectaltname)
  const serial = normaliseSerial(certificate.serialNumber)
  if (found === undefined || serial === undefined) {
    return {
      status: 'refused',
      detail: 'the certificate does not have exactly one SAN URI urn:fleetpulse:TENANT:DEVICE with the device id as its CN',
    }
  }
  return { status: 'identified', identity: { ...found, serial } }
}
