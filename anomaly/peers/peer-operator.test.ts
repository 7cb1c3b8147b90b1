import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { anomalyConfig, fleetOf, PeerFleet, ScriptedPeers, SLOT_MS, START_TS, type Says } from './testing/peer-fleet.ts'

const EVERY_MS = 10_000
const SLOT_STEPS = SLOT_MS / EVERY_MS
const HOUR_STEPS = 60 * SLOT_STEPS

/** A fleet in one environment that swings over the day; `changed` is what becomes of it. */
function world(seed: string, devices: number, changed: (value: number, device: number, step: number) => number = (value) => value): Says {
  const fleet = fleetOf(seed, devices)
  const random = seededRandom(`${seed} noise`)
  return (device, step) => {
    const own = fleet[device]
    assert.ok(own)
    const outside = 5 * Math.sin((step / (24 * HOUR_STEPS)) * 2 * Math.PI)
    const flow = own.level + own.gain * outside + own.noise * gaussian(random)
    return { flow: changed(flow, device, step), power: 50 + 2 * own.gain * outside + own.noise * gaussian(random), mode: 'eco', on: true }
  }
}

test('a device that leaves its peers is raised with their median, how many and which they are, and cleared when it is back', () => {
  const [from, to] = [3 * HOUR_STEPS, 4 * HOUR_STEPS]
  const says = world('odd', 12, (value, device, step) => (device === 4 && step >= from && step < to ? value + 25 : value))
  const { anomalies } = new PeerFleet({ devices: 12, everyMs: EVERY_MS }).run(5 * HOUR_STEPS, says)
  const [raised] = anomalies
  assert.ok(raised)
  assert.deepEqual([...new Set(anomalies.map(({ device, cause, metric }) => `${device} ${cause} ${metric}`))], ['pump-4 peers flow'])
  assert.deepEqual([anomalies[0]?.phase, anomalies.at(-1)?.phase], ['raised', 'cleared'])
  const slots = (raised.ts - (START_TS + from * EVERY_MS)) / SLOT_MS
  assert.ok(slots > 0 && slots <= 10, `raised after ${slots} slots`)
  const { observed, expected, low, high, contributions, parameters, text } = raised.explanation
  assert.ok(observed !== null && expected !== null && low !== null && high !== null)
  assert.ok(low < expected && expected < high && observed > high, text)
  assert.ok(expected > 15 && expected < 25, 'the median of the others')
  assert.equal(parameters.peers, 11)
  assert.equal(String(parameters.typicalPeers).split(', ').length, 5)
  assert.equal(contributions[0]?.part, 'flow')
  const sum = contributions.reduce((total, { weight }) => total + weight, 0)
  assert.ok(Math.abs(sum - raised.score) < 1e-9, 'contributions add up to the score')
  assert.match(text, /^flow .* spreads above the .* of 11 others of its type \(such as pump-/)
})

test('what happens to all of them raises nothing', () => {
  const at = 2 * HOUR_STEPS
  for (const devices of [6, 30]) {
    const says = world(`common ${devices}`, devices, (value, _device, step) => (step >= at ? 3 * value + 40 : value))
    assert.deepEqual(new PeerFleet({ devices, everyMs: EVERY_MS }).run(4 * HOUR_STEPS, says).anomalies, [])
  }
})

test('half of the fleet doing otherwise is not odd, nor is a device that was always a little apart', () => {
  const halves = world('halves', 12, (value, device, step) => (device % 2 === 0 && step >= 2 * HOUR_STEPS ? value + 30 : value))
  assert.deepEqual(new PeerFleet({ devices: 12, everyMs: EVERY_MS }).run(4 * HOUR_STEPS, halves).anomalies, [])
  const apart = world('apart', 12, (value, device) => (device === 3 ? value + 3 : value))
  assert.deepEqual(new PeerFleet({ devices: 12, everyMs: EVERY_MS }).run(4 * HOUR_STEPS, apart).anomalies, [])
})

test('of fewer peers than the least number nothing is said', () => {
  const odd = (value: number, device: number, step: number): number => (device === 0 && step >= 2 * HOUR_STEPS ? value + 50 : value)
  const run = (devices: number): PeerFleet =>
    new PeerFleet({ devices, everyMs: EVERY_MS, config: anomalyConfig({ peersMin: 7 }) }).run(3 * HOUR_STEPS, world('few', devices, odd))
  assert.equal(run(7).peers.summaries.length, 0)
  assert.deepEqual(run(7).anomalies, [])
  assert.deepEqual(
    run(8)
      .raised()
      .map(({ device }) => device)
      .slice(0, 1),
    ['pump-0'],
  )
})

test('the same summaries give the same anomalies: a prefix has those of the whole, and a restart anywhere changes nothing', () => {
  const odd = (value: number, device: number, step: number): number => (device === 1 && step >= 50 * SLOT_STEPS ? value + 30 : value)
  const saysAnew = (): Says => world('prefix', 7, odd)
  const steps = 90 * SLOT_STEPS
  const live = new PeerFleet({ devices: 7, everyMs: EVERY_MS }).run(steps, saysAnew())
  assert.ok(live.anomalies.length > 0)
  fc.assert(
    fc.property(fc.integer({ min: 1, max: steps }), (length) => {
      const says = saysAnew()
      const prefix = new PeerFleet({ devices: 7, everyMs: EVERY_MS, scripted: live.peers }).run(length, says)
      assert.deepEqual(
        prefix.anomalies,
        live.anomalies.filter(({ offset }) => offset < length),
      )
      prefix.restart().run(steps - length, says)
      assert.deepEqual(prefix.anomalies, live.anomalies)
      assert.deepEqual(prefix.states, live.states)
    }),
    { numRuns: 8 },
  )
})

test('numbers at their limits, words, gaps and clocks that jump raise nothing and break nothing', () => {
  const random = seededRandom('odd input')
  const odd = [1e300, -1e300, 0, Number.MIN_VALUE, true]
  const says: Says = (device, step) =>
    random.next() < 0.3 ? null : device === 2 ? { flow: odd[step % odd.length] ?? 0, mode: 'eco' } : { flow: 20 + device, mode: 'eco' }
  const fleet = new PeerFleet({ devices: 8, everyMs: EVERY_MS }).run(2 * HOUR_STEPS, says)
  for (const { score, explanation } of fleet.anomalies) {
    assert.ok(Number.isFinite(score) && score >= 0 && score <= 1)
    assert.ok(explanation.contributions.every(({ weight }) => Number.isFinite(weight)))
  }
  const { operator, states } = fleet
  const [state] = states
  assert.ok(state)
  for (const ts of [START_TS, START_TS + 10 * 86_400_000, START_TS, START_TS]) {
    const at = { tenant: 'default', device: 'pump-0', type: 'pump', receivedAt: ts, ts, correlationId: '', partition: 0, offset: 100_000 }
    operator.apply(state, { ...at, values: { flow: 20 } }, { emit: () => undefined })
  }
  assert.equal(state.slot, Math.floor(START_TS / SLOT_MS), 'a clock that was set back counts from where it is')
})

test('of a generated fleet most that leave it are found, and nobody else is raised', (t) => {
  const tally = { found: 0, right: 0, others: 0, hours: 0 }
  const kinds: Record<string, (value: number, step: number) => number> = {
    step: (value) => value + 12,
    drop: (value) => value * 0.3,
    drift: (value, step) => value + 0.04 * step,
    none: (value) => value,
  }
  for (const [kind, change] of Object.entries(kinds)) {
    for (const devices of [8, 24]) {
      const from = 3 * HOUR_STEPS
      const says = world(`fleet ${kind} ${devices}`, devices, (value, device, step) =>
        device === 5 && step >= from ? change(value, step - from) : value,
      )
      const raised = new PeerFleet({ devices, everyMs: EVERY_MS }).run(5 * HOUR_STEPS, says).raised()
      const own = raised.find(({ device, ts }) => device === 'pump-5' && kind !== 'none' && ts > START_TS + from * EVERY_MS)
      if (own !== undefined) tally.found++
      if (own?.explanation.contributions[0]?.part === 'flow') tally.right++
      tally.others += raised.filter((one) => one.device !== 'pump-5').length
      tally.hours += devices * 5
    }
  }
  t.diagnostic(
    `${tally.found} of 6 found, ${tally.right} by the right metric, ${tally.others} others raised in ${tally.hours} device hours`,
  )
  assert.ok(tally.found >= 5)
  assert.equal(tally.right, tally.found)
  assert.equal(tally.others, 0)
})

test('states of another shape are refused', () => {
  const { operator } = new PeerFleet({ devices: 1, everyMs: EVERY_MS, scripted: new ScriptedPeers() })
  assert.throws(() => operator.decode(new Uint8Array(3), 1), { code: 'INVALID_INPUT' })
  assert.throws(() => operator.decode(new Uint8Array(0), 2), { code: 'INVALID_INPUT' })
})
