import { SvelteMap } from 'svelte/reactivity'
import { messageOf } from '../api/client.ts'
import { devices, readings } from '../api/endpoints.ts'
import { live } from '../live/live.svelte.ts'

/** Newest readings looked through first: one request answers for every device that speaks often. */
const NEWEST_READINGS = 500
const AT_ONCE = 4

/** When each listed device was last heard: receipt of its newest stored reading, null when there is none. */
export class LatestTimes {
  readonly byDevice = new SvelteMap<string, number | null>()
  error = $state('')

  follow(): () => void {
    const stops = [
      live.want('all'),
      live.on('reading', ({ device, receivedAt }) => this.byDevice.has(device) && this.byDevice.set(device, receivedAt)),
    ]
    return () => stops.forEach((stop) => stop())
  }

  /** Fills in what is not known yet. */
  async load(ids: readonly string[]): Promise<void> {
    const unknown = new Set(ids.filter((id) => !this.byDevice.has(id)))
    if (unknown.size === 0) return
    try {
      const { items } = await readings.list({ limit: NEWEST_READINGS })
      for (const { device, receivedAt } of items) if (unknown.delete(device)) this.byDevice.set(device, receivedAt)
      const rest = [...unknown]
      await Promise.all(Array.from({ length: AT_ONCE }, () => this.#each(rest)))
      this.error = ''
    } catch (error) {
      this.error = messageOf(error)
    }
  }

  async #each(rest: string[]): Promise<void> {
    for (let id = rest.pop(); id !== undefined; id = rest.pop()) {
      const { reading } = await devices.latest(id)
      this.byDevice.set(id, reading?.receivedAt ?? null)
    }
  }
}
