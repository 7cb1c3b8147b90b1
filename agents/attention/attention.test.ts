import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../kernel/random.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { AttentionQueue } from './attention-queue.ts'
import { score, selectNext, type Dialogue } from './attention.ts'

const T0 = 1_700_000_000_000
const LIMITS = { starvingMs: 30_000 }
const QUEUE = { ...LIMITS, dialoguesMax: 500, siteWeights: [] }

function dialogue(conversation: string, since: number, changes: Partial<Dialogue> = {}): Dialogue {
  return {
    ...{ conversation, severity: 'warning', deviceCount: 1, site: '', since, deadlineAt: since + 120_000, turnsTaken: 0 },
    ...{ isHuman: false, wasFocus: false, ...changes },
  }
}

/** A queue that was written down and read by the next process. */
function restarted(queue: AttentionQueue<Dialogue>, nowMs: number): AttentionQueue<Dialogue> {
  const written = JSON.parse(JSON.stringify({ waiting: [...queue.values()], credits: queue.credits })) as {
    waiting: Dialogue[]
    credits: { site: string; credit: number }[]
  }
  const next = new AttentionQueue<Dialogue>(QUEUE)
  next.restore(written.credits)
  for (const each of written.waiting) next.put(each, nowMs)
  return next
}

for (const restartsEveryMs of [Infinity, 7_000]) {
  const restarts = restartsEveryMs === Infinity ? '' : ', through restarts'
  test(`a hundred dialogues at once: critical ones are begun within a second, and nobody waits for a minute${restarts}`, async () => {
    const random = seededRandom(5)
    const clock = new VirtualClock(T0)
    const [turnMs, lanes] = [200, 2]
    let queue = new AttentionQueue<Dialogue>(QUEUE)
    for (let i = 0; i < 100; i++)
      queue.put(dialogue(`d${i}`, T0, { deviceCount: 1 + Math.floor(random.next() * 50), site: `s${i % 5}` }), T0)
    const [critical, all]: [number[], number[]] = [[], []]
    let serial = 0
    let restartAt = T0 + restartsEveryMs
    for (; queue.size > 0; await clock.advance(turnMs)) {
      const nowMs = clock.nowMs()
      if (nowMs >= restartAt) {
        queue = restarted(queue, nowMs)
        restartAt += restartsEveryMs
      }
      // While it works new ones come, critical ones among them, as fast as they can be done.
      if (nowMs < T0 + 60_000 && serial < 300) {
        queue.put(dialogue(`n${serial}`, nowMs, { severity: serial % 3 === 0 ? 'critical' : 'warning' }), nowMs)
        queue.put(dialogue(`m${serial++}`, nowMs), nowMs)
      }
      for (let lane = 0; lane < lanes; lane++) {
        const next = queue.next(() => true, nowMs)
        if (next === null) break
        all.push(nowMs - next.since)
        if (next.severity === 'critical') critical.push(nowMs - next.since)
      }
    }
    const worst = (list: number[], share: number): number => list.sort((a, b) => a - b)[Math.floor((list.length - 1) * share)] ?? 0
    assert.equal(all.length, 700)
    assert.ok(critical.length >= 90 && worst(critical, 0.99) < 1_000, `p99 ${worst(critical, 0.99)} ms`)
    assert.ok(worst(all, 1) < 60_000, `longest wait ${worst(all, 1)} ms`)
  })
}

test('sites take turns by their weights where all else is alike, and what is critical goes before all turns', () => {
  const chosen = (siteWeights: { site: string; weight: number }[]): string => {
    const queue = new AttentionQueue<Dialogue>({ ...QUEUE, siteWeights })
    for (const [i, site] of [...'aaaabbbbcccc'].entries()) queue.put(dialogue(`d${String(i).padStart(2, '0')}`, T0, { site }), T0)
    queue.put(dialogue('z', T0, { site: 'c', severity: 'critical' }), T0)
    let sites = ''
    for (let next = queue.next(() => true, T0); next !== null; next = queue.next(() => true, T0)) sites += next.site
    return sites
  }
  assert.equal(chosen([]), 'cabcabcabcabc')
  assert.match(chosen([{ site: 'b', weight: 2 }]), /^c(?=.{0,3}b.{0,1}b)(?:[abc]{4}){3}$/)
})

test('a full queue gives back what matters least, and takes nothing that matters less', () => {
  const queue = new AttentionQueue<Dialogue>({ ...QUEUE, dialoguesMax: 2 })
  for (const [id, deviceCount] of [
    ['few', 1],
    ['some', 10],
    ['none', 0],
  ] as const)
    queue.put(dialogue(id, T0, { deviceCount }), T0)
  queue.put(dialogue('bad', T0, { severity: 'critical' }), T0)
  assert.deepEqual([...queue.values()].map(({ conversation }) => conversation).toSorted(), ['bad', 'some'])
})

test('a score grows with severity, devices, nearness of the deadline, people and waiting', () => {
  const base = dialogue('d', T0)
  const at = (changes: Partial<Dialogue>, nowMs = T0): number => score({ ...base, ...changes }, nowMs)
  assert.ok(
    at({ severity: 'critical' }) > at({}) && at({ deviceCount: 40 }) > at({}) && at({ isHuman: true }) > at({ severity: 'critical' }),
  )
  assert.ok(
    at({ deadlineAt: T0 + 1_000 }) > at({}) &&
      at({ turnsTaken: 2 }) > at({}) &&
      at({ wasFocus: true }) > at({}) &&
      at({}, T0 + 600_000) > at({}),
  )
})

test('whatever waits, something is chosen, and the longest waiting first once it starves', () => {
  const some = fc.record({
    conversation: fc.string({ minLength: 1, maxLength: 5 }),
    severity: fc.constantFrom<Dialogue['severity']>('warning', 'critical'),
    deviceCount: fc.nat(100_000),
    site: fc.constantFrom('a', 'b'),
    since: fc.integer({ min: T0 - 300_000, max: T0 }),
    deadlineAt: fc.integer({ min: T0 - 1_000, max: T0 + 300_000 }),
    turnsTaken: fc.nat(100),
    isHuman: fc.boolean(),
    wasFocus: fc.boolean(),
  })
  fc.assert(
    fc.property(
      fc.array(some, { minLength: 1, maxLength: 30 }),
      fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 2 }),
      (queue, saved) => {
        const credits = saved.map((credit, i) => ({ site: 'ab'[i] as string, credit }))
        const next = selectNext(queue, credits, T0, LIMITS)
        assert.ok(next !== null)
        const oldest = Math.min(...queue.map(({ since }) => since))
        if (T0 - oldest >= LIMITS.starvingMs) assert.equal(next.dialogue.since, oldest)
        const waiting = new Set(queue.map(({ site }) => site))
        assert.deepEqual(new Set(next.credits.map(({ site }) => site)), waiting, 'nobody saves up while nothing of it waits')
      },
    ),
    { seed: 8 },
  )
})
