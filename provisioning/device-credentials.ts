import { createHash, X509Certificate } from 'node:crypto'
import type { Clock } from '../kernel/time.ts'
import type { Certificates, StoredCertificate } from './certificates.ts'
import type { EnrolmentTokens } from './doors/enrolment-tokens.ts'

const PAGE_CERTIFICATES = 200

/** Everything a device can prove its identity with, or get such a proof with: what a device that leaves must lose. */
export class DeviceCredentials {
  readonly #certificates: Certificates
  readonly #tokens: EnrolmentTokens
  readonly #clock: Clock

  constructor(options: { certificates: Certificates; enrolmentTokens: EnrolmentTokens; clock: Clock }) {
    this.#certificates = options.certificates
    this.#tokens = options.enrolmentTokens
    this.#clock = options.clock
  }

  /** Certificates with which it could connect now. */
  async countValid(tenant: string, device: string): Promise<number> {
    const nowMs = this.#clock.nowMs()
    let count = 0
    for await (const { notAfter } of this.#all(tenant, device, 'valid')) if (notAfter >= nowMs) count++
    return count
  }

  /**
   * Withdraws enrolment tokens, then revokes every valid certificate: nothing new can come between. Answers all certificates that it ever
   * had as they are then, newest first, each with the SHA-256 of its DER.
   */
  async revokeAll(tenant: string, device: string, reason: 'cessationOfOperation' | 'affiliationChanged') {
    const tokens = await this.#tokens.withdraw(tenant, device)
    const valid: string[] = []
    for await (const { serial } of this.#all(tenant, device, 'valid')) valid.push(serial)
    for (const serial of valid) await this.#certificates.revoke(tenant, serial, reason)
    const certificates = []
    for await (const { serial, pem, revokedAt, reason: because } of this.#all(tenant, device)) {
      const sha256 = createHash('sha256').update(new X509Certificate(pem).raw).digest('hex')
      certificates.push({ serial, sha256, revokedAt, reason: because })
    }
    return { certificates, tokens }
  }

  async *#all(tenant: string, device: string, state?: 'valid'): AsyncGenerator<StoredCertificate> {
    for (let cursor: string | undefined; ;) {
      const place = cursor === undefined ? {} : { cursor }
      const page = await this.#certificates.list({
        tenant,
        device,
        limit: PAGE_CERTIFICATES,
        ...(state === undefined ? {} : { state }),
        ...place,
      })
      yield* page.items
      if (page.next === null) return
      cursor = page.next
    }
  }
}
