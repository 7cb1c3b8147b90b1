import type { WireServer } from '../../agents/brains/testing/wire-server.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { BenchPlatform, deviceNames } from '../harness/bench-platform.ts'
import { complain, report } from '../harness/figures.ts'
import { RULE_LIMIT, RuleBreaker, setRules } from './rule-breaker.ts'
import { spread, talks, type Talk } from './talks.ts'

const BENCH = 'conversations'
const DEVICES = 500
const INCIDENTS_MAX = 5
const DIGEST_MAX_MS = 5_000
const OPEN_AT_ONCE = 25
/** Until all alerts are there, and the agents are done. */
const PATIENCE_MS = 180_000
const SETTLE_MS = 10_000

export interface StormOptions {
  alerts: number
  seconds: number
  model: WireServer
  env: Readonly<Record<string, string>>
}

/** Many devices break many rules within a minute: few incidents, a conversation each, few calls of the model, and the digests in time. */
export async function storm({ alerts, seconds, model, env }: StormOptions): Promise<void> {
  const rounds = Math.max(1, Math.round(alerts / DEVICES))
  const metrics = Array.from({ length: rounds }, (_, i) => `m${i}`)
  const platform = new BenchPlatform(env)
  const breakers = deviceNames(DEVICES, 'storm-').map((device) => new RuleBreaker(device))
  try {
    await platform.start()
    await platform.enrol(breakers.map(({ device }) => device))
    for (let at = 0; at < breakers.length; at += OPEN_AT_ONCE)
      await Promise.all(breakers.slice(at, at + OPEN_AT_ONCE).map((breaker) => breaker.open(platform)))
    await setRules(platform, metrics)
    const callsBefore = model.requests.length
    const startedMs = systemClock.monotonicMs()
    await rage(breakers, metrics, seconds)
    const lastedS = (systemClock.monotonicMs() - startedMs) / 1_000
    const opened = await settled(platform, DEVICES * rounds)
    await sleep(systemClock, SETTLE_MS)
    tell(await talks(platform), opened, lastedS, model.requests.length - callsBefore)
  } finally {
    for (const breaker of breakers) breaker.close()
    await platform.remove()
  }
}

/** Each device breaks its rules one after the other, all evenly over the time. */
async function rage(breakers: readonly RuleBreaker[], metrics: readonly string[], seconds: number): Promise<void> {
  const startMs = systemClock.monotonicMs()
  const all = metrics.length * breakers.length
  for (let n = 0; n < all; n++) {
    const dueMs = startMs + (n * seconds * 1_000) / all
    if (dueMs > systemClock.monotonicMs()) await sleep(systemClock, dueMs - systemClock.monotonicMs())
    const wrong = Math.floor(n / breakers.length)
    const values = Object.fromEntries(metrics.map((metric, i) => [metric, i <= wrong ? RULE_LIMIT + 10 : RULE_LIMIT / 2]))
    breakers[n % breakers.length]?.publish(systemClock.nowMs(), values)
  }
}

/** Alerts counted by their incidents; waits until all are there. */
async function settled(platform: BenchPlatform, wanted: number): Promise<number> {
  const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS
  for (;;) {
    const { items } = await platform.process.get<{ items: { alertCount: number }[] }>('/incidents?limit=200')
    const count = items.reduce((sum, { alertCount }) => sum + alertCount, 0)
    if (count >= wanted || systemClock.monotonicMs() > deadlineMs) return count
    await sleep(systemClock, 1_000)
  }
}

function tell(found: readonly Talk[], alerts: number, lastedS: number, calls: number): void {
  const told = found.filter(({ incident }) => incident.announced)
  const first = spread(told.map(({ incident, digestsAt }) => (digestsAt[0] === undefined ? null : digestsAt[0] - incident.openedAt)))
  const talked = told.filter(({ conversation }) => conversation !== null).length
  const common = { bench: BENCH, alerts, seconds: Math.round(lastedS), devices: DEVICES }
  report({
    ...common,
    figure: 'storm, incidents',
    value: told.length,
    unit: 'incidents',
    wanted: INCIDENTS_MAX,
    levels: told.map(({ incident }) => incident.level),
  })
  report({
    ...common,
    figure: 'storm, conversations',
    value: talked,
    unit: 'conversations',
  })
  report({
    ...common,
    figure: 'storm, requests to the model',
    value: calls,
    unit: 'requests',
    digests: told.reduce((sum, { digestsAt }) => sum + digestsAt.length, 0),
  })
  report({
    ...common,
    figure: 'storm, incident opened to the first digest, p99',
    value: first.p99,
    unit: 'ms',
    max: first.max,
    wanted: DIGEST_MAX_MS,
  })
  if (talked < told.length) complain(`${told.length - talked} of ${told.length} incidents have no conversation`)
  if (told.length > INCIDENTS_MAX) complain(`${told.length} incidents, more than ${INCIDENTS_MAX}`)
  if (first.count < told.length) complain(`${told.length - first.count} of ${told.length} incidents have no digest`)
}
