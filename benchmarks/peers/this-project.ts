import { BenchPlatform, deviceNames } from '../harness/bench-platform.ts'
import type { Contender } from '../harness/contender.ts'
import { drained } from '../harness/drained.ts'
import { cpuSeconds } from '../harness/process-usage.ts'

/** This project on its embedded engines, over mTLS, with every stage on. */
export class ThisProject implements Contender {
  readonly name = 'fleetpulse, embedded, mTLS'
  readonly #connections: number
  #platform = new BenchPlatform()

  constructor(connections: number) {
    this.#connections = connections
  }

  missing(): null {
    return null
  }

  async start(): Promise<void> {
    this.#platform = new BenchPlatform()
    await this.#platform.start()
    await this.#platform.enrol(deviceNames(this.#connections))
  }

  loadOptions(): Readonly<Record<string, string | number>> {
    return { port: this.#platform.port, certs: this.#platform.certs }
  }

  async queryable(rows: number): Promise<number> {
    return (await drained(this.#platform, rows)).atMs
  }

  cpuSeconds(): number {
    return cpuSeconds(this.#platform.pid)
  }

  async stop(): Promise<void> {
    await this.#platform.remove()
  }
}
