import type { WireServer } from '../../agents/brains/testing/wire-server.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { BenchPlatform, deviceNames } from '../harness/bench-platform.ts'
import { complain, report, rounded } from '../harness/figures.ts'
import { LiveMemory } from '../harness/live-memory.ts'
import { anonymousMb } from '../harness/process-usage.ts'
import { RULE_LIMIT, RuleBreaker, setRules } from './rule-breaker.ts'
import { slopeOf } from '../harness/slope.ts'
import { spread, talks } from './talks.ts'

const BENCH = 'conversations'
const METRIC = 'temperature'
const NORMAL = 20
const DEVICES = 40
/** One device after the other breaks its rule so often, and half a round later it is well again: where the platform keeps up. */
const STEP_MS = 1_000
/** What the platform holds before anything is talked about. */
const SETTLE_MS = 5_000
/** However slow the machine: in the second half as many conversations end as begin, and some do. */
const STEPS_MIN = 1.5 * DEVICES
/** Until the last conversations are done, at most. */
const CALM_MS = 60_000
const LOOK_MS = 200
const MB_PER_CONVERSATION_MAX = 50
/** How often everything is collected in a run. */
const COLLECTIONS = 40
const KIB = 1_024
/**
 * What an ended conversation may leave in memory: its document alone is as large, so one that is kept shows. Caches that still fill may take
 * `FILLING_KIB` in all besides, which is little of an hour and more of a minute.
 */
const LEFT_KIB_MAX = 16
const FILLING_KIB = 2_048
export interface SoakOptions {
  seconds: number
  model: WireServer
  env: Readonly<Record<string, string>>
}

interface Sample {
  atS: number
  /** Devices that went wrong so far. */
  broken: number
  mb: number
  /** After a collection in every thread; only now and then. */
  liveMb: number | null
  live: number
}

/** Every break is an incident of its own, which is over when the device is well, and which a model words. */
const EACH_BY_ITSELF = {
  FLEETPULSE_ALERTS_INCIDENTS_PER_GROUP_MAX: '1000',
  FLEETPULSE_ALERTS_INCIDENTS_PER_CAUSE_MAX: '1000',
  FLEETPULSE_ALERTS_INCIDENT_WINDOW_MS: '1000',
  FLEETPULSE_ALERTS_RESOLVE_QUIET_MS: '1000',
  FLEETPULSE_ALERTS_FLAP_COUNT: '0',
  FLEETPULSE_BRAINS_STORM_INCIDENTS_MAX: '1000',
  FLEETPULSE_BRAINS_REQUESTS_PER_MINUTE: '10000',
  FLEETPULSE_BRAINS_TOKENS_PER_MINUTE: '10000000',
  FLEETPULSE_BRAINS_TOKENS_PER_DAY: '100000000',
  FLEETPULSE_BRAINS_TOKENS_PER_DAY_PER_SITE: '100000000',
}

/**
 * Devices break a rule and are well again, round after round: incidents come and go, and conversations with them. What the platform's process
 * holds is looked at all the while: what is left of ended conversations once every thread collected its garbage, and how much a live one is.
 * Says that it is not as it must be when an ended conversation leaves more than `LEFT_KIB_MAX`, beyond what chance explains, when a live one is
 * more than 50 MiB, or when an incident has no digest.
 */
export async function soak({ seconds, model, env }: SoakOptions): Promise<void> {
  const platform = new BenchPlatform({
    ...env,
    ...EACH_BY_ITSELF,
    ...LiveMemory.env,
  })
  let memory: LiveMemory | undefined
  const breakers = deviceNames(DEVICES, 'soak-').map((device) => new RuleBreaker(device))
  try {
    await platform.start()
    memory = await LiveMemory.open(platform.process.stderr)
    await platform.enrol(breakers.map(({ device }) => device))
    for (const breaker of breakers) await breaker.open(platform)
    await setRules(platform, [METRIC])
    for (const breaker of breakers) breaker.publish(systemClock.nowMs(), { [METRIC]: NORMAL })
    await sleep(systemClock, SETTLE_MS)
    // Without the garbage of the start: else a conversation seems to give memory back.
    await memory.mb()
    const idleMb = anonymousMb(platform.pid)
    const samples = await rounds(platform, breakers, memory, seconds)
    for (const breaker of breakers) breaker.publish(systemClock.nowMs(), { [METRIC]: NORMAL })
    await fewer(platform, 1, CALM_MS)
    await tell(platform, samples, { idleMb, seconds, calls: model.requests.length })
  } finally {
    memory?.close()
    for (const breaker of breakers) breaker.close()
    await platform.remove()
  }
}

async function rounds(platform: BenchPlatform, breakers: readonly RuleBreaker[], memory: LiveMemory, seconds: number): Promise<Sample[]> {
  const samples: Sample[] = []
  const startMs = systemClock.monotonicMs()
  const passedS = (): number => (systemClock.monotonicMs() - startMs) / 1_000
  let collectedS = 0
  for (let n = 0; passedS() < seconds || n < STEPS_MIN; n++) {
    const stepMs = systemClock.monotonicMs()
    const well = n + Math.floor(breakers.length / 2)
    breakers[n % breakers.length]?.publish(systemClock.nowMs(), { [METRIC]: RULE_LIMIT + 10 })
    breakers[well % breakers.length]?.publish(systemClock.nowMs(), { [METRIC]: NORMAL })
    const isDue = passedS() - collectedS >= seconds / COLLECTIONS
    const liveMb = isDue ? await memory.mb() : null
    if (isDue) collectedS = passedS()
    samples.push({ atS: passedS(), broken: n + 1, mb: anonymousMb(platform.pid), liveMb, live: await live(platform) })
    // What waits for a slow machine is held, and is no leak.
    await fewer(platform, breakers.length, CALM_MS)
    await sleep(systemClock, Math.max(0, stepMs + STEP_MS - systemClock.monotonicMs()))
  }
  return samples
}

/** Waits until fewer conversations than these are live, for so long at most. */
async function fewer(platform: BenchPlatform, than: number, waitMs: number): Promise<void> {
  const endMs = systemClock.monotonicMs() + waitMs
  while ((await live(platform)) >= than && systemClock.monotonicMs() < endMs) await sleep(systemClock, LOOK_MS)
}

/** Conversations that are not closed, as the platform itself counts them. */
async function live(platform: BenchPlatform): Promise<number> {
  const text = await (await fetch(`${platform.process.api}/metrics`)).text()
  return Number(/^fleetpulse_ai_conversations_active (\d+)/m.exec(text)?.[1] ?? 0)
}

async function tell(
  platform: BenchPlatform,
  samples: readonly Sample[],
  { idleMb, seconds, calls }: { idleMb: number; seconds: number; calls: number },
): Promise<void> {
  const found = await talks(platform)
  const told = found.filter(({ digestsAt }) => digestsAt.length > 0)
  const common = { bench: BENCH, seconds, broken: samples.length, conversations: told.length, calls }
  if (told.length < found.length || found.length < DEVICES / 2)
    complain(`${samples.length} devices went wrong, and ${told.length} of ${found.length} incidents have a digest`)
  // The first half fills what is kept anyway.
  const half = samples.slice(Math.floor(samples.length / 2))
  report({
    ...common,
    figure: 'soak, growth of anonymous memory in the second half, garbage included',
    value: rounded(slopeOf(half.map(({ atS, mb }) => ({ x: atS / 60, y: mb }))).slope, 1),
    unit: 'MiB/min',
    wanted: 0,
    fromMb: rounded(half[0]?.mb ?? NaN, 0),
    toMb: rounded(half.at(-1)?.mb ?? NaN, 0),
  })
  const collected = half.flatMap(({ broken, liveMb, live: lives }) => (liveMb === null ? [] : [{ x: broken, y: liveMb * KIB, lives }]))
  const { slope: left, error } = slopeOf(collected)
  const leftMax = rounded(LEFT_KIB_MAX + FILLING_KIB / half.length)
  report({
    ...common,
    figure: 'soak, what an ended conversation leaves in memory in the second half, after collections',
    value: rounded(left),
    unit: 'KiB',
    wanted: leftMax,
    standardError: rounded(error),
    heldMb: collected.map(({ y }) => rounded(y / KIB, 1)),
    live: collected.map(({ lives }) => lives),
  })
  if (!(left - 2 * error <= leftMax)) complain(`an ended conversation leaves ${rounded(left)} KiB, more than ${leftMax}`)
  const perLive = samples.filter((sample) => sample.live > 0).map((sample) => (sample.mb - idleMb) / sample.live)
  const { p50 } = spread(perLive)
  if (p50 === null || p50 > MB_PER_CONVERSATION_MAX) complain(`a live conversation is ${p50} MiB, more than ${MB_PER_CONVERSATION_MAX}`)
  const last = samples.at(-1)
  report({
    ...common,
    figure: 'soak, anonymous memory of a live conversation beyond the idle platform, p50',
    value: p50,
    unit: 'MiB',
    wanted: MB_PER_CONVERSATION_MAX,
    idleMb: rounded(idleMb, 0),
    wholeProcessPerLiveAtTheEnd: last === undefined || last.live === 0 ? null : rounded(last.mb / last.live, 1),
    liveMax: Math.max(...samples.map((sample) => sample.live)),
  })
}
