import type { WireServer } from '../../agents/brains/testing/wire-server.ts'
import { describeError } from '../../kernel/errors.ts'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { every, sleep, systemClock, type Timer } from '../../kernel/time.ts'
import { BenchPlatform, deviceNames } from '../harness/bench-platform.ts'
import { complain, report, rounded } from '../harness/figures.ts'
import { bucketQuantile } from '../harness/histogram-quantile.ts'
import { runLoad } from '../harness/run-load.ts'
import { RULE_LIMIT, RuleBreaker, setRules } from './rule-breaker.ts'
import { calm, digested, spread, type Talk } from './talks.ts'

const BENCH = 'conversations'
const METRIC = 'temperature'
const NORMAL = 20
const BROKEN = RULE_LIMIT + 10
const BACKGROUND_DEVICES = 50
/** Readings of before that each device has, a second apart. */
const PAST_READINGS = 120
const STEP_MS = 1_000
const SETTLE_MS = 5_000
/** Until the last digest. */
const PATIENCE_MS = 60_000
const FIRST_TURN_MAX_MS = 100
const DIGEST_MAX_MS = 1_000
const SEED = 13

export interface BesideTheRoad {
  incidents: number
  everyMs: number
  /** Readings a second of others. */
  rate: number
  model: WireServer
  env: Readonly<Record<string, string>>
}

/**
 * Devices break a rule one after the other, each an incident of its own, while others publish: from the incident taken from the log to the
 * first words of an agent and to its first digest. A model words a second one: the time it takes is the provider's.
 */
export async function besideTheRoad({ incidents, everyMs, rate, model, env }: BesideTheRoad): Promise<void> {
  const platform = new BenchPlatform({
    ...env,
    FLEETPULSE_ALERTS_INCIDENTS_PER_GROUP_MAX: '1000',
    FLEETPULSE_ALERTS_INCIDENTS_PER_CAUSE_MAX: '1000',
  })
  const breakers = deviceNames(incidents, 'breaker-').map((device) => new RuleBreaker(device))
  const brokenAt = new Map<string, number>()
  let metering: Timer | undefined
  try {
    await platform.start()
    await platform.enrol([...deviceNames(BACKGROUND_DEVICES), ...breakers.map(({ device }) => device)])
    for (const breaker of breakers) await breaker.open(platform)
    await pastOf(breakers)
    metering = meter(breakers, brokenAt)
    await setRules(platform, [METRIC])
    const seconds = Math.ceil((incidents * everyMs + 2 * SETTLE_MS + PATIENCE_MS) / 1_000)
    const load =
      rate === 0 ? undefined : runLoad({ port: platform.port, certs: platform.certs, connections: BACKGROUND_DEVICES, rate, seconds })
    await sleep(systemClock, SETTLE_MS)
    await calm(platform, PATIENCE_MS)
    const before = await carried(platform)
    await breakOneByOne(breakers, everyMs, brokenAt)
    const after = await carried(platform)
    const found = await digested(platform, new Set(brokenAt.keys()), PATIENCE_MS)
    tellBus(before, after, (await load)?.ackedPerS ?? 0)
    await tell(platform, found, brokenAt, { model, before: before.text })
  } finally {
    metering?.cancel()
    for (const breaker of breakers) breaker.close()
    await platform.remove()
  }
}

async function pastOf(breakers: readonly RuleBreaker[]): Promise<void> {
  const random = seededRandom(SEED)
  const startTs = systemClock.nowMs() - (PAST_READINGS + 1) * STEP_MS
  for (const breaker of breakers) {
    for (let i = 0; i < PAST_READINGS; i++) {
      await breaker.room()
      breaker.publish(startTs + i * STEP_MS, { [METRIC]: NORMAL + gaussian(random), flow: 2 + 0.1 * gaussian(random) })
    }
  }
}

/** Goes on publishing a reading of each device a step, so that none of them falls silent: that would be another trouble. */
function meter(breakers: readonly RuleBreaker[], brokenAt: ReadonlyMap<string, number>): Timer {
  const random = seededRandom(SEED + 1)
  const publish = (): void => {
    const nowMs = systemClock.nowMs()
    for (const breaker of breakers) {
      const temperature = brokenAt.has(breaker.device) ? BROKEN : NORMAL + gaussian(random)
      breaker.publish(nowMs, { [METRIC]: temperature, flow: 2 + 0.1 * gaussian(random) })
    }
  }
  return every(systemClock, STEP_MS, publish, (error) => complain(describeError(error)))
}

/** Notes when each device's wrong reading was published, epoch ms. */
async function breakOneByOne(breakers: readonly RuleBreaker[], everyMs: number, brokenAt: Map<string, number>): Promise<void> {
  for (const breaker of breakers) {
    const nowMs = systemClock.nowMs()
    brokenAt.set(breaker.device, nowMs)
    breaker.publish(nowMs, { [METRIC]: BROKEN, flow: 2 })
    await sleep(systemClock, everyMs)
  }
}

interface Carried {
  atMs: number
  /** The metrics as they were then. */
  text: string
  byTopic: Map<string, number>
}

/** Messages that the log took, by topic. */
async function carried(platform: BenchPlatform): Promise<Carried> {
  const text = await (await fetch(`${platform.process.api}/metrics`)).text()
  const byTopic = new Map<string, number>()
  for (const [, topic = '', count] of text.matchAll(/^fleetpulse_event_log_appended_messages_total\{[^}]*topic="([^"]+)"[^}]*\} (\d+)/gm))
    byTopic.set(topic, (byTopic.get(topic) ?? 0) + Number(count))
  return { atMs: systemClock.monotonicMs(), text, byTopic }
}

function tellBus(before: Carried, after: Carried, ackedPerS: number): void {
  const seconds = (after.atMs - before.atMs) / 1_000
  const perS: Record<string, number> = {}
  let all = 0
  for (const [topic, count] of after.byTopic) {
    const rate = (count - (before.byTopic.get(topic) ?? 0)) / seconds
    all += rate
    if (rate > 0) perS[topic] = rounded(rate, 1)
  }
  report({
    bench: BENCH,
    figure: 'events that the bus carried',
    value: rounded(all, 0),
    unit: 'events/s',
    perTopic: perS,
    ackedPerS: rounded(ackedPerS, 0),
  })
}

async function tell(
  platform: BenchPlatform,
  talks: readonly Talk[],
  brokenAt: ReadonlyMap<string, number>,
  { model, before }: { model: WireServer; before: string },
): Promise<void> {
  const since = (from: (talk: Talk) => number | null | undefined, to: (talk: Talk) => number | null | undefined) =>
    spread(
      talks.map((talk) => {
        const [start, end] = [from(talk), to(talk)]
        return start === null || start === undefined || end === null || end === undefined ? null : end - start
      }),
    )
  const line = (figure: string, { p99, ...rest }: ReturnType<typeof spread>, wanted?: number): void =>
    report({ bench: BENCH, figure, value: p99, unit: 'ms', ...rest, ...(wanted === undefined ? {} : { wanted }) })
  line(
    'incident opened to taken by the agents, p99',
    since(
      ({ incident }) => incident.openedAt,
      ({ takenAt }) => takenAt,
    ),
  )
  line(
    'incident taken to the first words of an agent, p99',
    since(
      ({ takenAt }) => takenAt,
      ({ firstWordsAt }) => firstWordsAt,
    ),
  )
  line(
    'incident taken to the first digest, p99',
    since(
      ({ takenAt }) => takenAt,
      ({ digestsAt }) => digestsAt[0],
    ),
    DIGEST_MAX_MS,
  )
  line(
    'wrong reading published to the first digest, p99',
    since(
      ({ incident }) => brokenAt.get(incident.device ?? ''),
      ({ digestsAt }) => digestsAt[0],
    ),
  )
  line(
    'the first digest to the one that a model worded, p99',
    since(
      ({ digestsAt }) => digestsAt[0],
      ({ digestsAt }) => digestsAt[1],
    ),
  )
  const metrics = [await (await fetch(`${platform.process.api}/metrics`)).text()]
  const first = bucketQuantile(metrics, 'fleetpulse_ai_first_turn_seconds', 0.99, [before])
  report({
    ...{ bench: BENCH, figure: 'incident taken to the first change of an agent, p99, at most', value: first.value * 1_000, unit: 'ms' },
    ...{ count: first.count, wanted: FIRST_TURN_MAX_MS },
  })
  const provider = bucketQuantile(metrics, 'fleetpulse_ai_response_seconds', 0.99, [before])
  report({
    bench: BENCH,
    figure: 'provider, a loopback server, p99, at most',
    value: provider.value * 1_000,
    unit: 'ms',
    calls: model.requests.length,
  })
  const without = brokenAt.size - talks.filter(({ digestsAt }) => digestsAt.length > 0).length
  const states = talks.filter(({ digestsAt }) => digestsAt.length === 0).map(({ conversation }) => conversation?.state ?? 'not taken')
  if (without > 0) complain(`${without} of ${brokenAt.size} incidents have no digest: ${states.join(', ')}`)
}
