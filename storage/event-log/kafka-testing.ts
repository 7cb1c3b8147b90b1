import assert from 'node:assert/strict'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { silentLogger, type Logger } from '../../kernel/log.ts'
import { newId } from '../../kernel/ids.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock } from '../../kernel/time.ts'
import type { EventLog, LogRecord } from './event-log.ts'
import { KafkaConfigSchema, type KafkaConfig } from './kafka-config.ts'
import { KafkaEventLog } from './kafka-event-log.ts'
import { holdEventLoop } from './temporary-log.ts'

/** An event log on a real Kafka, with names of its own there. */
export interface OpenedKafkaLog {
  readonly log: KafkaEventLog
  readonly marksTransactions: true
  readonly metrics: Metrics
  readonly topicPrefix: string
  readonly dispose: () => Promise<void>
}

export interface OpenKafkaLogOptions {
  config?: Partial<KafkaConfig>
  /** That of another log, to share its topics. */
  topicPrefix?: string
  logger?: Logger
}

/** Quick to notice changes, slow to give up. */
const TEST_CONFIG: Partial<KafkaConfig> = {
  heartbeatMs: 100,
  sessionTimeoutMs: 6_000,
  lingerMs: 0,
  metadataMaxAgeMs: 1_000,
  lagIntervalMs: 200,
}

export async function openKafkaLog(address: string, options: OpenKafkaLogOptions = {}): Promise<OpenedKafkaLog> {
  const metrics = new Metrics()
  const topicPrefix = options.topicPrefix ?? `test-${newId(systemClock.nowMs())}.`
  const log = new KafkaEventLog({
    config: kafkaConfig({ brokers: [address], ...TEST_CONFIG, ...options.config }),
    clock: systemClock,
    random: seededRandom(topicPrefix),
    log: options.logger ?? silentLogger,
    metrics,
    topicPrefix,
  })
  await log.start()
  // While Kafka is away no connection keeps the process.
  const hold = holdEventLoop()
  const dispose = async (): Promise<void> => {
    await log.stop()
    hold.release()
  }
  return { log, marksTransactions: true, metrics, topicPrefix, dispose }
}

/** The defaults, with some of them changed. */
export function kafkaConfig(changes: Partial<KafkaConfig> = {}): KafkaConfig {
  const checked = compileSchema(KafkaConfigSchema)({ ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

/** Stands between a client and Kafka, and can let requests through while it swallows the answers. */
export class DeafProxy {
  isDeaf = false
  readonly #port: number
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((client) => this.#join(client))

  /** `port` is Kafka's. */
  constructor(port: number) {
    this.#port = port
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Answers the port to be advertised. */
  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  /** Ends all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #join(client: Socket): void {
    const kafka = connect(this.#port, '127.0.0.1')
    for (const [one, other] of [
      [client, kafka],
      [kafka, client],
    ] as const) {
      this.#sockets.add(one)
      one.on('error', () => one.destroy())
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
    client.on('data', (chunk) => kafka.write(chunk))
    kafka.on('data', (chunk) => {
      if (!this.isDeaf) client.write(chunk)
    })
  }
}

/** Everything in a topic, once there are `count` records; waits a little for more than that. */
export async function drain(log: EventLog, topic: string, count: number, patienceMs: number): Promise<LogRecord[]> {
  const follower = await log.consume({ topic })
  const records: LogRecord[] = []
  const deadlineMs = systemClock.monotonicMs() + patienceMs
  while (records.length < count) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, `${records.length} of ${count} records of ${topic} came within ${patienceMs} ms`)
    records.push(...(await follower.poll(10_000, 200)))
  }
  records.push(...(await follower.poll(10_000, 500)))
  await follower.close()
  return records
}
