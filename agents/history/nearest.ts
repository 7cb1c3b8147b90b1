import type { PastIncident } from '../evidence/sources.ts'
import type { IncidentHistory } from '../summary/investigation.ts'
import { cosine } from './features.ts'

/** Similar ones that are named: more would not be read. */
const NAMED_MAX = 5

/** Those of before that are at least so like these features, the nearest first; of equally near ones the newest. */
export function nearestIncidents(past: readonly PastIncident[], features: readonly number[], similarFrom: number): IncidentHistory {
  const compared = past.map((one) => ({ one, likeness: cosine(one.features, features) }))
  const similar = compared
    .filter(({ likeness }) => likeness >= similarFrom)
    .toSorted((a, b) => b.likeness - a.likeness || b.one.openedAt - a.one.openedAt)
    .slice(0, NAMED_MAX)
    .map(({ one: { incident, openedAt, cause, level, resolution, rating }, likeness }) => {
      return { incident, likeness, openedAt, cause, level, resolution, rating }
    })
  return { compared: past.length, similar }
}
