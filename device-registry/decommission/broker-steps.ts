import { DOWNLINK, type Downlink } from '../../contracts/downlink.ts'
import type { Forgotten } from '../../contracts/forget-device.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { BrokerAnswers } from './broker-answers.ts'
import type { DecommissionConfig } from './config.ts'
import { wipeCommandId, type Job } from './job.ts'
import { done, type Outcome } from './outcome.ts'
import type { CertificateFact, DeviceCredentials } from './ports.ts'

export interface BrokerStepsOptions {
  answers: BrokerAnswers
  credentials: DeviceCredentials
  eventLog: EventLog
  clock: Clock
  config: DecommissionConfig
}

/** What an edge does: everything goes there through the topic of commands, so that it comes in order and survives an edge. */
export class BrokerSteps {
  readonly #options: BrokerStepsOptions

  constructor(options: BrokerStepsOptions) {
    this.#options = options
  }

  /** Takes back what waits for the device: it is to get the wipe command and nothing else. */
  async cancel(job: Job): Promise<Outcome> {
    return this.#forget(job, 'messages', [], ({ messages }) => ({ messages }))
  }

  async forget(job: Job): Promise<Outcome> {
    const revoked = job.steps.find(({ name }) => name === 'revoke')?.result.certificates as CertificateFact[] | undefined
    const serials = (revoked ?? []).map(({ serial }) => serial)
    return this.#forget(job, 'everything', serials, ({ connections, sessions, messages, retained }) => {
      return { connections, sessions, messages, retained }
    })
  }

  /** Names of the answers, which are not needed once the job is done. */
  static requestsOf(job: Job): string[] {
    return [`${job.id}-messages`, `${job.id}-everything`]
  }

  /** Sends the wipe command, retained so that a device without a session gets it too, and waits for its result. */
  async wipe(job: Job): Promise<Outcome> {
    const { clock, credentials } = this.#options
    const sentAt = job.progress.sentAt as number | undefined
    const commandId = wipeCommandId(job)
    if (sentAt === undefined) {
      if (!job.wipe) return done({ outcome: 'not-asked' })
      // Nobody could fetch it.
      if ((await credentials.countValid(job.tenant, job.device)) === 0) return done({ outcome: 'no-certificate' })
      await this.#send(job, commandId)
      return { status: 'progress', progress: { sentAt: clock.nowMs() } }
    }
    if (job.answer !== null) {
      const { status, at, sha256 } = job.answer
      return done({ outcome: status, commandId, sentAt, answeredAt: at, answerSha256: sha256 })
    }
    const leftMs = sentAt + job.wipeTimeoutMs - clock.nowMs()
    return leftMs > 0 ? { status: 'wait', ms: leftMs } : done({ outcome: 'timeout', commandId, sentAt, waitedMs: job.wipeTimeoutMs })
  }

  async #send({ tenant, device, id, why }: Job, commandId: string): Promise<void> {
    const payload = jsonBytes({ command: 'wipe', job: id, ...(why === null ? {} : { why }) })
    const at = this.#options.clock.nowMs()
    const downlink: Downlink = {
      tenant,
      device,
      path: `commands/${commandId}`,
      payloadBase64: Buffer.from(payload).toString('base64'),
      retain: true,
      at,
    }
    await this.#options.eventLog.append(TOPICS.commands, [{ key: deviceKey(tenant, device), schema: DOWNLINK, value: jsonBytes(downlink) }])
  }

  async #forget(
    job: Job,
    scope: 'messages' | 'everything',
    serials: string[],
    resultOf: (forgotten: Forgotten) => Record<string, unknown>,
  ): Promise<Outcome> {
    const { answers, clock, config } = this.#options
    const request = `${job.id}-${scope}`
    const forgotten = await answers.answer(request)
    if (forgotten !== null) return done(resultOf(forgotten))
    const askedAt = job.progress.askedAt as number | undefined
    if (askedAt === undefined || clock.nowMs() >= askedAt + config.askAgainMs) {
      await answers.ask({ tenant: job.tenant, device: job.device, scope, request, serials, at: clock.nowMs() })
      return { status: 'progress', progress: { askedAt: clock.nowMs(), asked: ((job.progress.asked as number | undefined) ?? 0) + 1 } }
    }
    const isLate = (job.progress.asked as number) > 1
    return {
      status: 'wait',
      ms: config.pollMs,
      ...(isLate ? { trouble: 'no edge has said that it forgot the device; is one running?' } : {}),
    }
  }
}
