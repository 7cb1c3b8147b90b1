import { messageOf } from '../api/client.ts'
import { anomalies } from '../api/endpoints.ts'
import type { Anomaly } from '../api/types.ts'
import { live } from '../live/live.svelte.ts'

const SHOWN = 12

/** The latest anomalies of the fleet, growing with the live stream. */
export class RecentAnomalies {
  items = $state.raw<Anomaly[]>([])
  loaded = $state(false)
  error = $state('')

  follow(): () => void {
    return live.on('anomaly', (anomaly) => {
      if (!this.items.some(({ id }) => id === anomaly.id)) this.items = [anomaly, ...this.items].slice(0, SHOWN)
    })
  }

  async load(): Promise<void> {
    try {
      this.items = (await anomalies.list({ limit: SHOWN })).items
      this.loaded = true
      this.error = ''
    } catch (error) {
      this.error = messageOf(error)
    }
  }
}
