import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GENERIC_TYPE } from '../../contracts/device.ts'
import { missingForServers } from '../../deploy/servers/jars.ts'
import { KafkaServer } from '../../deploy/servers/kafka-server.ts'
import { QuestdbServer } from '../../deploy/servers/questdb-server.ts'
import { TimeoutError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { BenchPlatform, deviceNames } from '../harness/bench-platform.ts'
import type { Contender } from '../harness/contender.ts'
import { drained } from '../harness/drained.ts'
import { cpuSeconds } from '../harness/process-usage.ts'

const TABLE_PREFIX = 'bench_'
const POLL_MS = 20
const STALLED_MS = 60_000
/** One process does it all: more partitions would only make smaller batches. */
const PARTITIONS = '1'

/** This project over Apache Kafka (acks=all) and QuestDB, in one process, over mTLS, with every stage on. */
export class ThisProjectOnServers implements Contender {
  readonly name = 'fleetpulse, kafka + questdb, mTLS'
  readonly #connections: number
  #folder = ''
  #kafka: KafkaServer | undefined
  #questdb: QuestdbServer | undefined
  #platform = new BenchPlatform()

  constructor(connections: number) {
    this.#connections = connections
  }

  missing(): string | null {
    return missingForServers()
  }

  async start(): Promise<void> {
    this.#folder = mkdtempSync(join(tmpdir(), 'fleetpulse-peer-'))
    const kafka = new KafkaServer({ folder: join(this.#folder, 'kafka') })
    const questdb = new QuestdbServer({ folder: join(this.#folder, 'questdb') })
    this.#kafka = kafka
    this.#questdb = questdb
    await Promise.all([kafka.start(), questdb.start()])
    this.#platform = new BenchPlatform({
      FLEETPULSE_EVENT_LOG_ENGINE: 'kafka',
      FLEETPULSE_KAFKA_BROKERS: kafka.address,
      FLEETPULSE_PLATFORM_PARTITIONS: PARTITIONS,
      FLEETPULSE_SERIES_ENGINE: 'questdb',
      FLEETPULSE_QUESTDB_HTTP_URL: questdb.address,
      FLEETPULSE_QUESTDB_PG_URL: questdb.pgAddress,
      FLEETPULSE_QUESTDB_TABLE_PREFIX: TABLE_PREFIX,
    })
    await this.#platform.start()
    await this.#platform.enrol(deviceNames(this.#connections))
  }

  loadOptions(): Readonly<Record<string, string | number>> {
    return { port: this.#platform.port, certs: this.#platform.certs }
  }

  /** What the ledger calls stored is in QuestDB's own log; queryable is what it has applied, so its tables are asked. */
  async queryable(rows: number): Promise<number> {
    await drained(this.#platform, rows)
    let found = -1
    let progressMs = systemClock.monotonicMs()
    for (;;) {
      const now = await this.#count()
      if (now >= rows) return systemClock.nowMs()
      if (now > found) progressMs = systemClock.monotonicMs()
      found = now
      if (systemClock.monotonicMs() - progressMs > STALLED_MS) throw new TimeoutError(`QuestDB stands still at ${found} of ${rows} rows`)
      await sleep(systemClock, POLL_MS)
    }
  }

  cpuSeconds(): number {
    const pids = [this.#platform.pid, this.#kafka?.pid ?? 0, this.#questdb?.pid ?? 0]
    return pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  }

  async stop(): Promise<void> {
    await this.#platform.remove()
    await this.#questdb?.stop()
    await this.#kafka?.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #count(): Promise<number> {
    const tables = await this.#query(
      `select table_name from tables() where table_name ~ '^${TABLE_PREFIX}default_${GENERIC_TYPE}_[0-9a-f]+$'`,
    )
    const [table] = tables[0] ?? []
    return typeof table === 'string' ? Number((await this.#query(`select count() from "${table}"`))[0]?.[0]) : 0
  }

  async #query(sql: string): Promise<unknown[][]> {
    const answer = await fetch(`${this.#questdb?.address}/exec?query=${encodeURIComponent(sql)}`)
    if (!answer.ok) throw new TypeError(`QuestDB answers ${answer.status} to ${sql}: ${await answer.text()}`)
    return ((await answer.json()) as { dataset: unknown[][] }).dataset
  }
}
