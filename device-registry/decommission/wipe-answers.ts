import { createHash } from 'node:crypto'
import { DEVICE_MESSAGE, type DeviceMessage } from '../../contracts/device-message.ts'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import type { Consumer, EventLog, LogRecord } from '../../storage/event-log/event-log.ts'
import { TopicFollower } from '../../storage/event-log/topic-follower.ts'
import { wipeCommandId, type Job, type WipeAnswer } from './job.ts'

const GROUP = 'decommission'
const RECORDS_MAX = 500
const WAIT_MS = 1_000
const RETRY_MS = 200
/** A first start looks back so far: nothing asked for a wipe before it. */
const OVERLAP_MS = 60_000
const WIPE = /^wipe-[0-9a-z]{26}$/

export interface WipeAnswersOptions {
  eventLog: EventLog
  clock: Clock
  log: Logger
  jobs: Collection<Job>
  /** Told of a job that has its answer. */
  onAnswer: (key: string) => void
}

/** Follows the topic of commands for what devices say of their wipe; noted in the job before the offset is committed. */
export class WipeAnswers {
  readonly #options: WipeAnswersOptions
  #follower: TopicFollower | undefined

  constructor(options: WipeAnswersOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { eventLog, clock, log } = this.#options
    this.#follower = await TopicFollower.join({
      eventLog,
      clock,
      log,
      consumer: { group: GROUP, topic: TOPICS.commands, from: { timestampMs: clock.nowMs() - OVERLAP_MS } },
      recordsMax: RECORDS_MAX,
      retryMs: RETRY_MS,
      waitMs: () => WAIT_MS,
      onRecords: (records, consumer, signal) => this.#noteAll(records, consumer, signal),
    })
    this.#follower.run()
  }

  async stop(): Promise<void> {
    await this.#follower?.stop()
    this.#follower = undefined
  }

  async #noteAll(records: readonly LogRecord[], consumer: Consumer, signal: AbortSignal): Promise<void> {
    if (records.length === 0) return
    try {
      for (const record of records) {
        if (signal.aborted) return
        if (record.schema === DEVICE_MESSAGE) await this.#note(record)
      }
      await consumer.commit(new Map(records.map((record) => [record.partition, record.offset + 1])))
    } catch (error) {
      if (!signal.aborted) for (const record of records.toReversed()) consumer.seek(record.partition, record.offset)
      throw error
    }
  }

  async #note(record: LogRecord): Promise<void> {
    const message = readMessage(record)
    if (message?.kind !== 'command-result' || !WIPE.test(message.commandId ?? '')) return
    const key = deviceKey(message.tenant, message.device)
    const job = await this.#options.jobs.get(key)
    if (job === null || job.answer !== null || wipeCommandId(job) !== message.commandId) return
    await this.#options.jobs.update(key, { $set: { answer: answerOf(message) } })
    this.#options.onAnswer(key)
  }
}

function answerOf(message: DeviceMessage): WipeAnswer {
  const text = message.bodyBase64 ?? canonicalJson(message.body ?? null)
  const said = (message.body as { status?: unknown } | null | undefined)?.status
  const status = said === 'failed' || said === 'rejected' ? 'failed' : 'acknowledged'
  return { at: message.receivedAt, status, sha256: createHash('sha256').update(text).digest('hex') }
}

function readMessage(record: LogRecord): DeviceMessage | undefined {
  try {
    return JSON.parse(utf8Text(record.value)) as DeviceMessage
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
