import { createPublicKey, X509Certificate } from 'node:crypto'
import { normaliseSerial } from '../contracts/certificate.ts'
import { CertificateNoticeSchema, type CertificateNotice } from '../contracts/renewal.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Random } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import type { Clock, Timer } from '../kernel/time.ts'
import { newDeviceRequest, type DeviceBundle } from '../provisioning/doors/device-bundle.ts'

export interface CertificateRenewalOptions {
  device: string
  clock: Clock
  log: Logger
  random: Random
  /** Asks for a certificate: answers with it (EST), or with undefined when the answer comes by `take` (MQTT). */
  ask: (csrPem: string, current: DeviceBundle) => Promise<Omit<DeviceBundle, 'keyPem'> | undefined>
  /** Takes the new certificate into use. */
  adopt: (bundle: DeviceBundle) => Promise<void>
}

/** Part of its life after which a device renews its certificate, and the part over which a fleet spreads that. */
const RENEW_AFTER = 0.6
const SPREAD = 0.06
/** An answer is waited for, and a failed try repeated, after this part of the certificate's life, within bounds in ms. */
const AGAIN_AFTER = 0.05
const AGAIN_MS = { min: 500, max: 60_000 }
/** Timers of the runtime count to 2^31 - 1 ms: who waits longer looks again in between. */
const WAIT_MS_MAX = 86_400_000

const checkNotice = compileSchema(CertificateNoticeSchema)

/**
 * How a device looks after its certificate: it renews when that is due by itself or when it is told, with a new key each time, and asks
 * again, for the same key, until it is answered. The key never leaves it.
 */
export class CertificateRenewal {
  readonly #options: CertificateRenewalOptions
  #current: DeviceBundle | undefined
  #pending: { keyPem: string; csrPem: string } | undefined
  /** A request is under way. */
  #isAsking = false
  #timer: Timer | undefined
  #stopped = false
  renewals = 0

  constructor(options: CertificateRenewalOptions) {
    this.#options = options
  }

  /** From now on this certificate is looked after. */
  follow(bundle: DeviceBundle): void {
    const { clock, random } = this.#options
    this.#current = bundle
    const { fromMs, lifetimeMs } = lifeOf(bundle)
    this.#at(fromMs + lifetimeMs * (RENEW_AFTER + SPREAD * random.next()) - clock.nowMs(), () => this.#begin())
  }

  /** What came on the device's own topic. */
  take(payload: Buffer): void {
    const notice = readNotice(payload)
    const { device, log } = this.#options
    if (notice === undefined) log.warn({ device }, 'simulated device does not understand what it was told about its certificate')
    else if (notice.status === 'due') this.#onDue(notice.serial)
    else if (notice.status === 'issued') this.#adopt({ certPem: notice.certificate, caPem: notice.ca })
    else log.warn({ device, reason: notice.reason, detail: notice.detail }, 'simulated device was refused a certificate')
  }

  /** Asks again at once, if it waits for an answer: after a reconnect it may have been lost. */
  resume(): void {
    if (this.#pending !== undefined) this.#again()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** Word of an earlier certificate may come late. */
  #onDue(serial: string): void {
    if (this.#current !== undefined && normaliseSerial(new X509Certificate(this.#current.certPem).serialNumber) === serial) this.#begin()
  }

  #begin(): void {
    if (this.#pending !== undefined || this.#stopped) return
    const { device, log } = this.#options
    newDeviceRequest(device).then(
      (request) => {
        this.#pending ??= request
        this.#again()
      },
      (error: unknown) => log.error({ device, error: describeError(error) }, 'simulated device cannot make a key'),
    )
  }

  #again(): void {
    const { device, log, ask } = this.#options
    const pending = this.#pending
    const current = this.#current
    if (pending === undefined || current === undefined || this.#stopped) return
    const waitMs = Math.min(AGAIN_MS.max, Math.max(AGAIN_MS.min, lifeOf(current).lifetimeMs * AGAIN_AFTER))
    this.#at(waitMs, () => this.#again())
    if (this.#isAsking) return
    this.#isAsking = true
    ask(pending.csrPem, current)
      .then((answer) => {
        if (answer !== undefined) this.#adopt(answer)
      })
      .catch((error: unknown) => log.warn({ device, error: describeError(error) }, 'simulated device could not ask for a certificate'))
      .finally(() => (this.#isAsking = false))
  }

  /** An answer for another key is an old one. */
  #adopt(answer: Omit<DeviceBundle, 'keyPem'>): void {
    const { device, log, adopt } = this.#options
    const pending = this.#pending
    if (pending === undefined || this.#stopped) return
    if (!new X509Certificate(answer.certPem).publicKey.equals(createPublicKey(pending.keyPem))) return
    this.#pending = undefined
    this.renewals++
    const bundle = { keyPem: pending.keyPem, ...answer }
    this.follow(bundle)
    adopt(bundle).catch((error: unknown) =>
      log.error({ device, error: describeError(error) }, 'simulated device could not take its new certificate into use'),
    )
  }

  #at(delayMs: number, run: () => void): void {
    this.#timer?.cancel()
    if (this.#stopped) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.min(Math.max(0, delayMs), WAIT_MS_MAX), () =>
      delayMs > WAIT_MS_MAX ? this.#at(delayMs - WAIT_MS_MAX, run) : run(),
    )
  }
}

function lifeOf({ certPem }: DeviceBundle): { fromMs: number; lifetimeMs: number } {
  const { validFrom, validTo } = new X509Certificate(certPem)
  const fromMs = Date.parse(validFrom)
  return { fromMs, lifetimeMs: Date.parse(validTo) - fromMs }
}

function readNotice(payload: Buffer): CertificateNotice | undefined {
  try {
    const checked = checkNotice(JSON.parse(payload.toString('utf8')))
    return checked.status === 'valid' ? checked.value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
