import type { Counter } from 'prom-client'
import type { Rotation as RotationState } from '../../contracts/certificate.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import { NOTICE_PATH, type CertificateNotice } from '../../contracts/renewal.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { Certificates } from '../certificates.ts'
import type { RotationConfig } from './config.ts'
import { downlinkMessage } from './downlink-message.ts'
import { notRenewedMessage, type NotRenewed } from './not-renewed.ts'
import { datesOf, nextLookAt, nextStep, type RotationStep } from './rotation-plan.ts'
import type { RotationStore, StoredFollowed } from './rotation-store.ts'

export interface RotationOptions {
  /** Opened by whoever made it, before the start. */
  store: RotationStore
  eventLog: EventLog
  certificates: Certificates
  registrar: Pick<DeviceRegistrar, 'findDevice'>
  config: RotationConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** Of a device that has left, or is leaving. */
const GONE = new Set(['decommissioning', 'decommissioned'])

/**
 * Follows every device certificate from its issue to its successor: tells the device when it is due, tells operators when the device did
 * not renew, and revokes what was replaced. Each step is done first and recorded second, so that a crash between repeats it; steps bear
 * repeating. All dates are in the documents.
 */
export class Rotation implements Service {
  readonly name = 'rotation'
  readonly #options: RotationOptions
  readonly #store: RotationStore
  readonly #steps: Counter<'step'>
  /** Looks under way: events and the timer may call for the same one. */
  readonly #looking = new Map<string, Promise<void>>()
  #timer: Timer | undefined
  #sweeping: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(options: RotationOptions) {
    this.#options = options
    this.#store = options.store
    this.#steps = options.metrics.counter('provisioning_rotation_steps_total', 'Steps in the rotation of device certificates.', ['step'])
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    this.#stopped = false
    const { clock, config, log } = this.#options
    await this.#adopt()
    this.#timer = every(
      clock,
      config.checkIntervalMs,
      () => (this.#sweeping = this.sweep()),
      (error) => log.error({ error: describeError(error) }, 'certificates that are due wait for the next look'),
    )
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#sweeping])
  }

  /** One look at everything that is due. One certificate's trouble does not hold up the others; it is tried again. */
  async sweep(): Promise<void> {
    const { clock, config, log } = this.#options
    const troubled = new Set<string>()
    while (!this.#stopped) {
      const due = (await this.#store.due(clock.nowMs(), config.checkDocumentsMax + troubled.size)).filter(({ _id }) => !troubled.has(_id))
      if (due.length === 0) return
      for (const { _id } of due) {
        if (this.#stopped) return
        await this.look(_id).catch((error: unknown) => {
          troubled.add(_id)
          log.error({ serial: _id, error: describeError(error) }, 'the rotation of a certificate waits for the next look')
        })
      }
    }
  }

  /** Does what is due about one certificate, step by step; one look at a time. */
  look(serial: string): Promise<void> {
    return this.#exclusive(serial, () => this.#look(serial))
  }

  #exclusive(serial: string, run: () => Promise<void>): Promise<void> {
    const before = this.#looking.get(serial) ?? Promise.resolve()
    const looking = before.catch(() => undefined).then(run)
    this.#looking.set(serial, looking)
    const forget = (): void => {
      if (this.#looking.get(serial) === looking) this.#looking.delete(serial)
    }
    looking.then(forget, forget)
    return looking
  }

  async #look(serial: string): Promise<void> {
    const { clock, config } = this.#options
    while (!this.#stopped) {
      const record = await this.#store.get(serial)
      if (record === null) return
      const step = nextStep(record, clock.nowMs(), config)
      if (step === undefined) {
        const lookAt = nextLookAt(record, config)
        // Looked at too early, or the policy has changed.
        if (lookAt === record.rotation.lookAt || (await this.#store.change(record, { ...record.rotation, lookAt }))) return
        continue
      }
      const changes = await this.#do(step, record)
      const rotation = { ...record.rotation, ...changes }
      const written = await this.#store.change(record, {
        ...rotation,
        lookAt: changes.lookAt ?? nextLookAt({ ...record, rotation }, config),
      })
      if (written) this.#steps.inc({ step })
      if (written && changes.lookAt !== undefined) return
    }
  }

  /** A device was seen with this certificate: what it replaces goes, and a device that is due is told again. */
  async noteUse(serial: string, atMs: number): Promise<void> {
    while (!this.#stopped) {
      const record = await this.#store.get(serial)
      if (record === null || record.state === 'revoked') return
      if (record.rotation.usedAt !== null) {
        if (['due', 'late'].includes(record.rotation.stage)) await this.#tell(record)
        return
      }
      if (await this.#store.change(record, { ...record.rotation, usedAt: atMs, lookAt: atMs })) return this.look(serial)
    }
  }

  /** A device was suspended, or left: nobody is to be alerted about its certificates. */
  async noteBarred(tenant: string, device: string): Promise<void> {
    for (const { _id } of await this.#store.alarmed(tenant, device)) {
      await this.#exclusive(_id, async () => {
        const record = await this.#store.get(_id)
        if (record === null || !['late', 'ended'].includes(record.rotation.stage)) return
        await this.#store.change(record, { ...record.rotation, ...(await this.#excuse(record)) })
      })
    }
  }

  /** Its device may not renew: nobody is alerted, and it is looked at again later. */
  async #excuse(record: StoredFollowed): Promise<Partial<RotationState>> {
    const { clock, config } = this.#options
    await this.#alarm({ record, phase: 'cleared', because: 'the device may not connect any more' })
    return { stage: 'due', lookAt: clock.nowMs() + config.recheckMs }
  }

  #do(step: RotationStep, record: StoredFollowed): Promise<Partial<RotationState>> {
    const does: Record<RotationStep, (of: StoredFollowed) => Promise<Partial<RotationState>>> = {
      begin: (of) => this.#begin(of),
      close: (of) => this.#close(of),
      retire: (of) => this.#retire(of),
      'fall-due': (of) => this.#fallDue(of),
      'fall-late': (of) => this.#fallLate(of),
      end: (of) => this.#end(of),
    }
    return does[step](record)
  }

  /** The device has a new certificate: alerts about earlier ones are over. Whoever renews with a certificate has used it. */
  async #begin(record: StoredFollowed): Promise<Partial<RotationState>> {
    const { tenant, device, replaces } = record
    if (typeof replaces === 'string') {
      await this.noteUse(replaces, record.issuedAt)
      const before = await this.#store.get(replaces)
      if (before !== null && ['watched', 'due'].includes(before.rotation.stage)) await this.#over(before)
    }
    for (const late of await this.#store.alarmed(tenant, device)) {
      if (late.issuedAt > record.issuedAt) continue
      await this.#alarm({ record: late, phase: 'cleared', because: `the device has certificate ${record.serial} now` })
      await this.#over(late)
    }
    return { stage: 'watched' }
  }

  /** It was revoked. If it was to replace another one and did not come to that, the other one is followed again. */
  async #close(record: StoredFollowed): Promise<Partial<RotationState>> {
    const { rotation, replaces } = record
    if (rotation.stage === 'late' || rotation.stage === 'ended') {
      await this.#alarm({ record, phase: 'cleared', because: `it was revoked: ${record.reason ?? 'unspecified'}` })
    }
    if (record.reason === 'superseded' && !rotation.settled) await this.#retire(record)
    const before =
      rotation.settled || record.reason === 'superseded' || typeof replaces !== 'string' ? null : await this.#store.get(replaces)
    if (before?.state === 'valid' && before.rotation.stage === 'closed') {
      await this.#store.change(before, { ...before.rotation, stage: 'watched', lookAt: this.#options.clock.nowMs() })
    }
    return { stage: 'closed', settled: true }
  }

  /**
   * Revokes what it replaces, and older certificates that were issued in the place of that one as well: of a device that asked again. Those
   * that are newer stay, the device may be about to use them.
   */
  async #retire(record: StoredFollowed): Promise<Partial<RotationState>> {
    const { tenant, replaces, rotation, serial, device, issuedAt } = record
    if (typeof replaces !== 'string') return { settled: true }
    const isUsed = rotation.usedAt !== null
    const siblings = (await this.#store.replacementsOf(tenant, replaces)).filter((one) => one.serial !== serial && one.state === 'valid')
    const revoke = async (serials: readonly string[]): Promise<Partial<RotationState>> => {
      const why = isUsed ? `first use of ${serial}` : `the grace of ${serial} is over`
      for (const one of serials) await this.#options.certificates.revoke(tenant, one, 'superseded')
      this.#options.log.info({ tenant, device, serial, serials, why }, 'certificates superseded')
      return { settled: true }
    }
    // The device took another one into use, and had the time to take this one.
    if (!isUsed && siblings.some((one) => typeof one.rotation?.usedAt === 'number')) return revoke([serial])
    // The device asked again: its grace begins with the last one that it was given.
    if (!isUsed && siblings.some((one) => one.issuedAt > issuedAt)) return { settled: true }
    return revoke([replaces, ...siblings.filter((one) => one.issuedAt <= issuedAt).map((one) => one.serial)])
  }

  async #fallDue(record: StoredFollowed): Promise<Partial<RotationState>> {
    if (await this.#store.hasSuccessor(record)) return { stage: 'closed' }
    await this.#tell(record)
    return { stage: 'due' }
  }

  async #fallLate(record: StoredFollowed): Promise<Partial<RotationState>> {
    const { registrar, clock, config } = this.#options
    const device = await registrar.findDevice(record.tenant, record.device)
    if (device === undefined || GONE.has(device.state) || (await this.#store.hasSuccessor(record))) return { stage: 'closed' }
    if (device.state === 'suspended') return { lookAt: clock.nowMs() + config.recheckMs }
    const alarms = record.rotation.alarms + 1
    await this.#alarm({ record: { ...record, rotation: { ...record.rotation, alarms } }, phase: 'late' })
    return { stage: 'late', alarms }
  }

  async #end(record: StoredFollowed): Promise<Partial<RotationState>> {
    const device = await this.#options.registrar.findDevice(record.tenant, record.device)
    if (device === undefined || GONE.has(device.state) || device.state === 'suspended') return this.#excuse(record)
    await this.#alarm({ record, phase: 'ended' })
    return { stage: 'ended' }
  }

  async #over(record: StoredFollowed): Promise<void> {
    const rotation: RotationState = { ...record.rotation, stage: 'closed' }
    await this.#store.change(record, { ...rotation, lookAt: nextLookAt({ ...record, rotation }, this.#options.config) })
  }

  async #tell(record: StoredFollowed): Promise<void> {
    const { eventLog, clock, config } = this.#options
    const { tenant, device, serial, notAfter } = record
    const notice: CertificateNotice = { status: 'due', serial, notAfter, lateAt: datesOf(record, config).lateAt }
    await eventLog.append(TOPICS.commands, [downlinkMessage({ tenant, device, path: NOTICE_PATH, body: notice, at: clock.nowMs() })])
  }

  async #alarm(occasion: Omit<NotRenewed, 'type' | 'nowMs'>): Promise<void> {
    const { eventLog, registrar, clock, config, log } = this.#options
    const { tenant, device, serial } = occasion.record
    const found = await registrar.findDevice(tenant, device)
    const message = notRenewedMessage({ ...occasion, type: found?.type ?? '', nowMs: clock.nowMs() }, config)
    await eventLog.append(TOPICS.anomalies, [message])
    if (occasion.phase !== 'cleared') log.warn({ tenant, device, serial, phase: occasion.phase }, 'device did not renew its certificate')
  }

  /** Certificates of before this version: taken as they are. */
  async #adopt(): Promise<void> {
    const { clock, config } = this.#options
    for (;;) {
      const found = await this.#store.unfollowed(config.checkDocumentsMax)
      if (found.length === 0) return
      const rotation: RotationState = { stage: 'watched', lookAt: clock.nowMs(), usedAt: null, settled: true, alarms: 0 }
      for (const record of found) await this.#store.follow(record, rotation)
    }
  }
}
