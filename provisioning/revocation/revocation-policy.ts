import type { AuditTrail } from '../../contracts/audit.ts'
import { DEVICE_EVENT, DeviceEventSchema, type DeviceEvent } from '../../contracts/device-event.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import type { Logger } from '../../kernel/log.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { committing, oneByOne, TopicFollower } from '../../storage/event-log/topic-follower.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { readRule, ruleFor, type RevocationRule } from './revocation-rules.ts'

const GROUP = 'revocation-policy'

/** Events taken at once, pause after a failure and longest wait for events, in ms: a rule must act well within a second. */
const RECORDS_MAX = 500
const RETRY_MS = 500
const WAIT_MS = 1_000

const checkEvent = compileSchema(DeviceEventSchema)

export interface RevocationPolicyOptions {
  eventLog: EventLog
  certificates: Certificates
  auditTrail?: AuditTrail
  registrar: Pick<DeviceRegistrar, 'findDevice'>
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/**
 * Rules that revoke by themselves (`provisioning.revokeWhen`): what `device-events` tells of a device meets one, and all its certificates are
 * revoked. Its place is a committed offset, so that a crash between the event and the revocation loses neither. A device that has left
 * the state again when its event is read is let be.
 */
export class RevocationPolicy implements Service {
  readonly name = 'revocation-policy'
  readonly #options: RevocationPolicyOptions
  readonly #rules: readonly RevocationRule[]
  #follower: TopicFollower | undefined

  constructor(options: RevocationPolicyOptions) {
    this.#options = options
    this.#rules = options.config.revokeWhen.map(readRule).filter((rule) => rule !== undefined)
  }

  async start(): Promise<void> {
    if (this.#follower !== undefined) return
    const { eventLog, clock, log } = this.#options
    this.#follower = await TopicFollower.join({
      ...{ eventLog, clock, log },
      consumer: { group: GROUP, topic: TOPICS.deviceEvents, from: 'earliest' },
      recordsMax: RECORDS_MAX,
      retryMs: RETRY_MS,
      waitMs: () => WAIT_MS,
      onRecords: committing(oneByOne((record) => this.#note(record))),
    })
    this.#follower.run()
  }

  async stop(): Promise<void> {
    await this.#follower?.stop()
    this.#follower = undefined
  }

  async #note(record: LogRecord): Promise<void> {
    const event = record.schema === DEVICE_EVENT ? eventOf(record) : undefined
    const rule = event === undefined ? undefined : ruleFor(this.#rules, event)
    if (event === undefined || rule === undefined || !('device' in event)) return
    const { tenant, device } = event
    if (rule.of === 'state' && (await this.#options.registrar.findDevice(tenant, device))?.state !== rule.name) return
    const { certificates, auditTrail, log } = this.#options
    const serials = await certificates.revokeDevice(tenant, device, rule.reason, 'system')
    if (serials.length === 0) return
    log.warn({ tenant, device, rule: rule.text, serials }, 'certificates revoked by a rule')
    const subject = { kind: 'device', id: device }
    await auditTrail?.record({
      tenant,
      actor: 'system',
      action: 'device.revoke',
      subject,
      why: `rule ${rule.text}`,
      after: { revoked: serials },
    })
  }
}

function eventOf(record: LogRecord): DeviceEvent | undefined {
  try {
    const checked = checkEvent(JSON.parse(utf8Text(record.value)))
    return checked.status === 'valid' ? checked.value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
