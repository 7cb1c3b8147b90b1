import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AlertsConfigSchema } from '../../alerts/config.ts'
import { decide, type Joining } from '../../alerts/incidents/incident-desk.ts'
import type { DeskEntry } from '../../alerts/incidents/incident-document.ts'
import { integerBetween, seededRandom, type Random } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { agreement } from '../testing/agreement.ts'

const T0 = 1_763_683_200_000
const MINUTE_MS = 60_000

interface Told extends Joining {
  at: number
  /** Number of the trouble that it is of. */
  truth: number
}

const DEVICES = 400
const TYPES = ['pump', 'cold-room', 'power-meter', 'air-monitor']
const SITES = 10

const deviceAt = (index: number): Pick<Joining, 'tenant' | 'device' | 'type' | 'labels'> => ({
  ...{ tenant: 'default', device: `d-${index}`, type: TYPES[index % TYPES.length] as string },
  labels: { site: `site-${Math.floor(index / TYPES.length) % SITES}` },
})

/** A day of troubles of three sizes: a device with several metrics, a line of devices of one place, a cause across the fleet. */
function day(random: Random): Told[] {
  const told: Told[] = []
  let truth = 0
  const within = (from: number, spanMs: number): number => from + Math.floor(random.next() * spanMs)
  for (let minute = 0; minute < 1_440; minute += integerBetween(random, 6, 14)) {
    const from = T0 + minute * MINUTE_MS
    const kind = random.next()
    truth++
    if (kind < 0.7) {
      const device = deviceAt(integerBetween(random, 0, DEVICES - 1))
      const alerts = integerBetween(random, 1, 5)
      for (let i = 0; i < alerts; i++)
        told.push({ ...device, cause: random.next() < 0.8 ? 'value' : 'silence', at: within(from, 2 * MINUTE_MS), truth })
    } else if (kind < 0.9) {
      const first = deviceAt(integerBetween(random, 0, DEVICES - 1))
      const line = Array.from({ length: DEVICES }, (_, i) => deviceAt(i)).filter(
        (one) => one.type === first.type && one.labels.site === first.labels.site,
      )
      for (const one of line) told.push({ ...one, cause: 'value', at: within(from, MINUTE_MS), truth })
    } else {
      const size = integerBetween(random, 30, 200)
      const step = integerBetween(random, 1, 3)
      for (let i = 0; i < size; i++) told.push({ ...deviceAt((i * step) % DEVICES), cause: 'silence', at: within(from, MINUTE_MS), truth })
    }
  }
  return told.toSorted((a, b) => a.at - b.at)
}

test('alerts of one trouble are one incident, and those of others are not', (t) => {
  const config = compileSchema(AlertsConfigSchema)({})
  assert.ok(config.status === 'valid')
  const scores = [1, 2, 3, 4, 5].map((seed) => {
    const told = day(seededRandom(`grouping-${seed}`))
    let entries: readonly DeskEntry[] = []
    const found = told.map((one) => {
      const decision = decide(entries, one, one.at, config.value)
      entries = decision.entries ?? entries
      return decision.incident.id
    })
    const truth = told.map((one) => String(one.truth))
    return {
      alerts: told.length,
      ...agreement(truth, found),
      alone: agreement(
        truth,
        told.map((_, index) => String(index)),
      ),
    }
  })
  for (const { alerts, f1, rand, alone } of scores)
    t.diagnostic(
      `${alerts} alerts: pairwise F1 ${f1.toFixed(3)}, adjusted Rand index ${rand.toFixed(3)}; one incident an alert: ${alone.f1.toFixed(3)}, ${alone.rand.toFixed(3)}`,
    )
  for (const { f1, rand } of scores) assert.ok(f1 >= 0.9 && rand >= 0.85)
})
