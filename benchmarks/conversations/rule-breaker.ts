import { join } from 'node:path'
import { InternalError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { readDeviceBundle } from '../../provisioning/doors/device-bundle.ts'
import { DeviceConnection } from '../../simulators/device-connection.ts'
import type { BenchPlatform } from '../harness/bench-platform.ts'
import { complain } from '../harness/figures.ts'

export const RULE_LIMIT = 80
const KEEP_ALIVE_S = 1_200
const INFLIGHT_MAX = 20
/** Time after which a rule is in force, beyond what the platform says. */
const ACTIVATION_SLACK_MS = 500

/** A device that can break rules. */
export class RuleBreaker {
  readonly device: string
  #connection: DeviceConnection | undefined
  #unacked = 0
  #seq = 0
  #isDone = false

  constructor(device: string) {
    this.device = device
  }

  async open(platform: BenchPlatform): Promise<void> {
    const bundle = await readDeviceBundle(join(platform.certs, this.device))
    if (bundle === undefined) throw new InternalError(`${this.device} has no certificate`)
    this.#connection = new DeviceConnection({
      ...{ host: 'localhost', port: platform.port, device: this.device, bundle, keepAliveS: KEEP_ALIVE_S },
      onAcked: (packetIds) => void (this.#unacked -= packetIds.length),
      onClosed: (error) => {
        if (!this.#isDone) complain(`${this.device} lost its connection: ${error?.message ?? 'closed by the broker'}`)
      },
    })
    await this.#connection.open()
  }

  publish(ts: number, values: Readonly<Record<string, number>>): void {
    this.#connection?.publish(Buffer.from(JSON.stringify({ ts, boot: 'breaker', seq: this.#seq++, values })))
    this.#unacked++
  }

  /** Resolves when there is room for another reading. */
  async room(): Promise<void> {
    while (this.#unacked > INFLIGHT_MAX) await sleep(systemClock, 1)
  }

  close(): void {
    this.#isDone = true
    this.#connection?.close()
  }
}

/** Rules that these metrics break above the limit; resolves when they are in force. */
export async function setRules(platform: BenchPlatform, metrics: readonly string[]): Promise<void> {
  let inForceAtMs = 0
  for (const metric of metrics) {
    const rule = { name: `${metric} too high`, metric, is: 'above', raise: RULE_LIMIT, severity: 'critical' }
    const { status, body } = await platform.process.post<{ activeFrom: number }>('/rules', rule)
    if (status !== 201) throw new InternalError(`a rule was refused: ${JSON.stringify(body)}`)
    inForceAtMs = Math.max(inForceAtMs, body.activeFrom + ACTIVATION_SLACK_MS)
  }
  await sleep(systemClock, Math.max(0, inForceAtMs - systemClock.nowMs()))
}
