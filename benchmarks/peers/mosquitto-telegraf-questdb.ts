import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { TimeoutError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { ROOT } from '../../test/testing/repository.ts'
import type { Contender } from '../harness/contender.ts'
import { cpuSeconds } from '../harness/process-usage.ts'
import { freePort, ServerProcess } from '../../deploy/servers/server-process.ts'
import { isInstalled, questdbJar } from './questdb-jar.ts'

const TABLE = 'peer_readings'
const POLL_MS = 20
const STALLED_MS = 60_000

/**
 * The pipeline people build today: Mosquitto (persistent), Telegraf (QoS 1), QuestDB. Plain MQTT, no windows, no scoring, no durable
 * acknowledgement: that is all it does.
 */
export class MosquittoTelegrafQuestdb implements Contender {
  readonly name = 'mosquitto + telegraf + questdb, plain'
  #folder = ''
  #mqttPort = 0
  #questdbPort = 0
  #servers: ServerProcess[] = []

  missing(): string | null {
    for (const program of ['mosquitto', 'telegraf', 'java']) if (!isInstalled(program)) return `${program} is not installed`
    return questdbJar() === null ? 'the jar of QuestDB is not there (QUESTDB_JAR, or Maven to fetch it)' : null
  }

  async start(): Promise<void> {
    this.#folder = mkdtempSync(join(tmpdir(), 'fleetpulse-peer-'))
    this.#mqttPort = await freePort()
    this.#questdbPort = await freePort()
    const questdbFolder = join(this.#folder, 'questdb')
    mkdirSync(join(questdbFolder, 'conf'), { recursive: true })
    this.#fill('questdb.conf', join(questdbFolder, 'conf', 'server.conf'))
    await this.#run('questdb', 'java', ['-cp', questdbJar() ?? '', 'io.questdb.ServerMain', '-d', questdbFolder], () => this.#answers())
    await this.#run('mosquitto', 'mosquitto', ['-c', this.#fill('mosquitto.conf')], (server) => server.log.includes('running'))
    await this.#run('telegraf', 'telegraf', ['--config', this.#fill('telegraf.conf')], (server) => server.log.includes('Connected'))
  }

  loadOptions(): Readonly<Record<string, string | number>> {
    return { port: this.#mqttPort }
  }

  async queryable(rows: number): Promise<number> {
    let found = -1
    let progressMs = systemClock.monotonicMs()
    for (;;) {
      const now = await this.#count()
      if (now >= rows) return systemClock.nowMs()
      if (now > found) progressMs = systemClock.monotonicMs()
      found = now
      if (systemClock.monotonicMs() - progressMs > STALLED_MS) throw new TimeoutError(`the peer stands still at ${found} of ${rows} rows`)
      await sleep(systemClock, POLL_MS)
    }
  }

  cpuSeconds(): number {
    return this.#servers.reduce((sum, server) => sum + cpuSeconds(server.pid), 0)
  }

  async stop(): Promise<void> {
    for (const server of this.#servers.reverse()) await server.stop()
    this.#servers = []
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #run(
    name: string,
    command: string,
    args: readonly string[],
    isReady: (server: ServerProcess) => boolean | Promise<boolean>,
  ): Promise<void> {
    const server = new ServerProcess({ name, command, args, logFile: join(this.#folder, `${name}.log`) })
    this.#servers.push(server)
    await server.start(() => isReady(server))
  }

  #fill(template: string, target = join(this.#folder, template)): string {
    const text = readFileSync(join(ROOT, 'benchmarks', 'peers', template), 'utf8')
    const values: Record<string, string> = {
      MQTT_PORT: String(this.#mqttPort),
      QUESTDB_PORT: String(this.#questdbPort),
      DIR: this.#folder,
      USER: userInfo().username,
    }
    writeFileSync(
      target,
      text.replace(/\{\{([A-Z_]+)\}\}/g, (_, name: string) => values[name] ?? ''),
    )
    return target
  }

  async #answers(): Promise<boolean> {
    try {
      return (await this.#query('select 1')) !== null
    } catch {
      return false // it does not listen yet
    }
  }

  async #count(): Promise<number> {
    return Number((await this.#query(`select count() from ${TABLE}`))?.dataset[0]?.[0] ?? 0)
  }

  /** Null while there is no such table. */
  async #query(sql: string): Promise<{ dataset: unknown[][] } | null> {
    const answer = await fetch(`http://127.0.0.1:${this.#questdbPort}/exec?query=${encodeURIComponent(sql)}`)
    return answer.ok ? ((await answer.json()) as { dataset: unknown[][] }) : null
  }
}
