import { SvelteMap } from 'svelte/reactivity'
import { alerts } from '../api/endpoints.ts'
import { messageOf } from '../api/client.ts'
import type { Alert, AlertState } from '../api/types.ts'
import { live } from './live.svelte.ts'

/** Asked for per state; beyond it counts are shown as "200+". */
export const ACTIVE_ALERTS_MAX = 200
const ACTIVE: readonly AlertState[] = ['open', 'acknowledged']

/** Every alert that is not resolved, kept up to date by the live stream. */
class ActiveAlerts {
  readonly byId = new SvelteMap<string, Alert>()
  loaded = $state(false)
  error = $state('')
  /** There are more than are held here. */
  more = $state(false)

  all = $derived([...this.byId.values()].sort((a, b) => b.openedAt - a.openedAt))
  open = $derived(this.all.filter((alert) => alert.state === 'open'))
  byDevice = $derived(Map.groupBy(this.all, (alert) => alert.device))

  /** Follows the stream; returns the way to stop. */
  follow(): () => void {
    return live.on('alert', ({ alert }) => this.take(alert))
  }

  async load(): Promise<void> {
    try {
      const pages = await Promise.all(ACTIVE.map((state) => alerts.list({ state, limit: ACTIVE_ALERTS_MAX })))
      this.byId.clear()
      for (const alert of pages.flatMap((page) => page.items)) this.byId.set(alert.id, alert)
      this.more = pages.some((page) => page.next !== null)
      this.error = ''
      this.loaded = true
    } catch (error) {
      this.error = messageOf(error)
    }
  }

  take(alert: Alert): void {
    if (alert.state === 'resolved') this.byId.delete(alert.id)
    else if (this.byId.has(alert.id) || this.byId.size < ACTIVE_ALERTS_MAX * ACTIVE.length) this.byId.set(alert.id, alert)
    else this.more = true
  }
}

export const activeAlerts = new ActiveAlerts()
