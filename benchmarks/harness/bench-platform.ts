import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readRuntimeInfo } from '../../app/data-folder.ts'
import { InternalError } from '../../kernel/errors.ts'
import { PlatformProcess } from '../../test/testing/platform-process.ts'
import { enrolMany } from './enrol-many.ts'

export interface LedgerSums {
  received: number
  acked: number
  stored: number
  rejected: number
  late: number
  duplicate: number
  missing: number
}

const DAY_MS = 86_400_000

/** The platform as users start it, with devices enrolled through its own doors. */
export class BenchPlatform {
  readonly process: PlatformProcess

  constructor(env: Record<string, string> = {}) {
    this.process = new PlatformProcess(env)
  }

  /** Folder with one folder of certificates per device. */
  get certs(): string {
    return join(this.process.folder, 'devices')
  }
  get port(): number {
    const { ready } = this.process
    if (ready === undefined) throw new InternalError('the platform was not started')
    return ready.mqtts
  }
  get pid(): number {
    const info = readRuntimeInfo(this.process.data)
    if (info === null) throw new InternalError('the platform does not say that it runs')
    return info.pid
  }

  async start(): Promise<void> {
    await this.process.start()
  }

  /** Tokens from the API, certificates over EST. */
  async enrol(devices: readonly string[], type?: string): Promise<void> {
    const { process } = this
    await enrolMany({
      devices,
      ...(type === undefined ? {} : { type }),
      certs: this.certs,
      origin: `https://localhost:${process.ready?.https}`,
      caPem: readFileSync(join(process.data, 'pki', 'ca.pem'), 'utf8'),
      post: (path, body) => process.post(path, body),
    })
  }

  ledger(): Promise<LedgerSums> {
    return this.process.get<LedgerSums>('/ledger?summary=true')
  }

  /** Rows in the store with an event time about this one, counted by the store itself through the API. */
  async storedRows(devices: readonly string[], metric: string, aroundTs: number): Promise<number> {
    let rows = 0
    for (const device of devices) {
      const query = `device=${device}&metric=${metric}&from=${aroundTs - DAY_MS}&to=${aroundTs + DAY_MS}&interval=1h`
      const { items } = await this.process.get<{ items: { values: { count: number } }[] }>(`/readings?${query}`)
      for (const { values } of items) rows += values.count
    }
    return rows
  }

  /** Stops gracefully where it can, and removes everything. */
  async remove(): Promise<void> {
    await this.process.stop()
    await this.process.remove()
  }
}

/** Names of devices as the load generator gives them. */
export function deviceNames(count: number, prefix = 'load-'): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`)
}
