import { ConflictError } from '../kernel/errors.ts'
import type { MetricSpec } from '../contracts/device.ts'
import { PROFILES } from '../simulators/device-profiles.ts'
import type { ApiClient } from './api-client.ts'

/** Defines the simulated devices' types where they are not known yet. */
export async function ensureSimulatedTypes(api: ApiClient): Promise<void> {
  const known = await api.get<{ items: { id: string }[] }>('/device-types')
  for (const profile of PROFILES) {
    if (known.items.some((type) => type.id === profile.type)) continue
    const metrics: Record<string, MetricSpec> = Object.fromEntries(Object.entries(profile.metrics).map(([metric, { spec }]) => [metric, spec]))
    try {
      await api.post('/device-types', { id: profile.type, open: false, metrics })
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error
    }
  }
}
