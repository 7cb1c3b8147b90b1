import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { FactoryTemplate } from './template.ts'

/** What both kinds keep so that a change reaches every listener, also after a crash. */
export interface Announced {
  /** False while the change still has to go to `device-events`. */
  announced: boolean
}

/** A factory CA whose device certificates are admitted. Its document's id is `${tenant}/${id}`. */
export interface FactoryAuthority extends Announced {
  tenant: string
  id: string
  /** The CA that signs device certificates. */
  certificatePem: string
  /** CAs above it up to a self-signed one, where it is not self-signed; else empty. */
  chainPem: string
  /** SHA-256 of its public key, hex: one CA is registered once, in one tenant. */
  fingerprint: string
  subject: string
  /** Epoch ms. */
  notAfter: number
  template: FactoryTemplate
  /** `closed`: nobody new comes in, who is in stays. `removing`: all that came from it is being revoked. */
  state: 'open' | 'closed' | 'removing'
  createdAt: number
  by: string
}

/** A production batch: whoever holds its certificate may ask for so many devices' certificates, for so long. Id `${tenant}/${id}`. */
export interface Claim extends Announced {
  tenant: string
  id: string
  /** Type of the devices it lets in; null leaves it to the device's registration, or `generic`. */
  type: string | null
  /** What device ids must look like: letters compared one by one, and at most one `*` for any. */
  devices: string
  labels: Record<string, string>
  devicesMax: number
  /** Devices let in so far. */
  devicesUsed: number
  /** Epoch ms; also when its certificate expires. */
  expiresAt: number
  state: 'active' | 'revoked'
  revokedAt: number | null
  /** Of its certificate, upper-case hex. */
  serial: string
  createdAt: number
  by: string
}

/** One device that a claim let in; id `${tenant}/${claim}/${device}`. */
export interface ClaimUse {
  /** SHA-256 of the device's public key, hex: the same request again gets the same certificate. */
  key: string
  /** Of the certificate issued; null until there is one. */
  serial: string | null
  at: number
}

/** Which factory certificate a device came with; id `${tenant}/${device}`. */
export interface FactoryBinding {
  authority: string
  /** Key of the certificate's record. */
  certificate: string
  at: number
}

/** A code that a factory CA signs to prove that its key is in the right hands; id is the code. */
export interface RegistrationCode {
  tenant: string
  expiresAt: number
  by: string
}

export function openAuthorities(documents: Documents): Promise<Collection<FactoryAuthority>> {
  return documents.collection<FactoryAuthority>({
    name: 'factory-authorities',
    indexes: [
      { name: 'by-fingerprint', paths: ['fingerprint'], unique: true },
      { name: 'by-tenant', paths: ['tenant', 'id'] },
      { name: 'by-announced', paths: ['announced'] },
    ],
  })
}

export function openClaims(documents: Documents): Promise<Collection<Claim>> {
  return documents.collection<Claim>({
    name: 'claims',
    indexes: [
      { name: 'by-tenant', paths: ['tenant', 'id'] },
      { name: 'by-announced', paths: ['announced'] },
    ],
  })
}
