import { X509Certificate } from 'node:crypto'
import type { Counter } from 'prom-client'
import type { DeviceMessage } from '../../contracts/device-message.ts'
import { NOTICE_PATH, type CertificateNotice } from '../../contracts/renewal.ts'
import { TOPICS } from '../../contracts/topics.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import { issuedNotice } from '../doors/issued-notice.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { checkCsr } from '../doors/csr.ts'
import { csrDerOf } from '../doors/csr-text.ts'
import type { Enrolment } from '../doors/enrolment.ts'
import type { RotationConfig } from './config.ts'
import { downlinkMessage } from './downlink-message.ts'
import type { RotationStore } from './rotation-store.ts'

export interface RenewalDeskOptions {
  store: RotationStore
  enrolment: Enrolment
  certificates: Certificates
  authority: Pick<CertificateAuthority, 'chainPemOf' | 'caPem'>
  eventLog: EventLog
  config: RotationConfig
  limits: Pick<ProvisioningConfig, 'deviceKeyTypes' | 'estBodyBytesMax' | 'rsaBitsMin' | 'rsaBitsMax'>
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** A device's wish for its next certificate, as its edge wrote it down. */
export type RenewalRequest = Pick<DeviceMessage, 'tenant' | 'device' | 'serial' | 'receivedAt' | 'body' | 'bodyBase64'>

/**
 * Renewal over MQTT: the certificate of the session is the credential, as with EST's simplereenroll (RFC 7030 §4.2.2). A request that comes
 * again, from a device that lost the answer or from a log that is read again, is answered with the certificate that was issued for it.
 */
export class RenewalDesk {
  readonly #options: RenewalDeskOptions
  readonly #answers: Counter<'status'>

  constructor(options: RenewalDeskOptions) {
    this.#options = options
    this.#answers = options.metrics.counter('provisioning_mqtt_renewals_total', 'Requests for a new certificate over MQTT, by answer.', [
      'status',
    ])
  }

  /** Answers on the device's own topic; resolves when the answer is durable in the log. */
  async serve(request: RenewalRequest): Promise<void> {
    const { eventLog, clock } = this.#options
    const { tenant, device } = request
    const notice = await this.#answer(request)
    await eventLog.append(TOPICS.commands, [downlinkMessage({ tenant, device, path: NOTICE_PATH, body: notice, at: clock.nowMs() })])
    this.#answers.inc({ status: notice.status })
  }

  async #answer(request: RenewalRequest): Promise<CertificateNotice> {
    const { limits, store, config, enrolment } = this.#options
    const { tenant, device, serial } = request
    if (serial === undefined) return refused('no-certificate', 'this connection showed no certificate that could be renewed')
    const der = csrDerOf(payloadOf(request))
    if (der === undefined || der.length > limits.estBodyBytesMax) {
      return refused(
        'malformed',
        `the payload is not a certification request as PEM, base64 or DER of at most ${limits.estBodyBytesMax} bytes`,
      )
    }
    const current = await store.get(serial)
    // A connection may outlive its certificate. Judged by when the device asked, not by when there was time to answer.
    if (current !== null && current.notAfter < request.receivedAt) return refused('credential-refused', 'the certificate has expired')
    const siblings = await store.replacementsOf(tenant, serial)
    const same = siblings.find((one) => one.device === device && one.state === 'valid' && this.#isFor(der, one.pem))
    if (same !== undefined) return issuedNotice(this.#options.authority, same)
    if (siblings.length >= config.renewalsMax) {
      return refused(
        'too-many-renewals',
        `${siblings.length} certificates were issued in the place of ${serial} already; connect with the latest one`,
      )
    }
    const outcome = await enrolment.enrolWithCertificate({ tenant, device, serial }, der, { sameIdentity: true, door: 'mqtt-certificate' })
    if (outcome.status === 'issued') return issuedNotice(this.#options.authority, outcome.certificate)
    return refused(outcome.status === 'pending' ? 'pending' : outcome.reason, outcome.detail)
  }

  /** Is this certificate for the key of this request? */
  #isFor(der: Uint8Array, pem: string): boolean {
    const check = checkCsr(der, this.#options.limits)
    if (check.status === 'refused') return false
    return check.csr.publicKey.equals(new X509Certificate(pem).publicKey.export({ format: 'der', type: 'spki' }))
  }
}

function payloadOf({ body, bodyBase64 }: RenewalRequest): Uint8Array {
  if (bodyBase64 !== undefined) return Buffer.from(bodyBase64, 'base64')
  const csr = typeof body === 'string' ? body : (body as { csr?: unknown } | null | undefined)?.csr
  return Buffer.from(typeof csr === 'string' ? csr : '')
}

function refused(reason: string, detail: string): CertificateNotice {
  return { status: 'refused', reason, detail }
}
