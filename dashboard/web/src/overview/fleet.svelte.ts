import { messageOf } from '../api/client.ts'
import { devices } from '../api/endpoints.ts'
import type { DeviceState } from '../api/types.ts'

/** Devices counted at most; beyond it the number is shown as "1,000+". */
const DEVICES_MAX = 1_000
const CONNECTIONS = /^fleetpulse_broker_connections(?:\{[^}]*\})? (\S+)$/gm
const EVERY_MS = 5_000

/** How many devices there are, in which state, and how many are connected now. */
export class Fleet {
  byState = $state.raw<Partial<Record<DeviceState, number>>>({})
  total = $state<number | undefined>(undefined)
  more = $state(false)
  connected = $state<number | undefined>(undefined)
  error = $state('')

  /** Begins; returns the way to stop. */
  watch(): () => void {
    void this.load()
    const timer = setInterval(() => {
      if (!document.hidden) void this.#countConnections()
    }, EVERY_MS)
    return () => clearInterval(timer)
  }

  async load(): Promise<void> {
    try {
      const page = await devices.list({ limit: DEVICES_MAX })
      const counts: Partial<Record<DeviceState, number>> = {}
      for (const { state } of page.items) counts[state] = (counts[state] ?? 0) + 1
      this.byState = counts
      this.total = page.items.length
      this.more = page.next !== null
      this.error = ''
    } catch (error) {
      this.error = messageOf(error)
    }
    await this.#countConnections()
  }

  /** Open connections are told by the metrics alone. */
  async #countConnections(): Promise<void> {
    try {
      const response = await fetch('/metrics', { cache: 'no-store' })
      const found = response.ok ? [...(await response.text()).matchAll(CONNECTIONS)] : []
      this.connected = found.length === 0 ? undefined : found.reduce((sum, [, value]) => sum + Number(value), 0)
    } catch (error) {
      this.connected = undefined
      this.error = messageOf(error)
    }
  }
}
