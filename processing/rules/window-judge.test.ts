import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { judgeWindow, figureOf } from './window-judge.ts'
import { newTrack } from './rule-track.ts'
import { verdictOf } from './rule.ts'
import { onWindow, settings, windowAt } from './rules-testing.ts'

const HELD = { correctableMs: Infinity, max: 10_000 }

test('whatever is corrected in whatever order, what was told is what the latest revisions say', () => {
  const events = fc.array(fc.record({ minute: fc.integer({ min: 0, max: 9 }), value: fc.constantFrom(50, 75, 90) }), { maxLength: 60 })
  fc.assert(
    fc.property(events, fc.constantFrom(0, 60_000, 180_000), (list, forMs) => {
      const rule = settings({ on: onWindow(), clear: 60, forMs })
      const track = newTrack(1, 'pressure')
      const latest = new Map<number, number>()
      const revisions = new Map<number, number>()
      let told = false
      for (const { minute, value } of list) {
        const revision = (revisions.get(minute) ?? 0) + 1
        revisions.set(minute, revision)
        latest.set(minute, value)
        for (const { said } of judgeWindow(track, rule, windowAt(minute, value, revision), HELD, Infinity)) {
          if (said !== 'repeated') assert.notEqual(told, said === 'raised', `${said} twice`)
          told = said === 'raised' || said === 'repeated'
        }
        assert.equal(told, expected(latest, rule), JSON.stringify(list))
        assert.equal(track.raised, told)
      }
    }),
    { numRuns: 500, seed: 7 },
  )
})

/** The rule's meaning, said once more: windows in order of time. */
function expected(latest: ReadonlyMap<number, number>, rule: ReturnType<typeof settings>): boolean {
  let [raised, since] = [false, null as number | null]
  for (const minute of [...latest.keys()].toSorted((a, b) => a - b)) {
    const { startTs, endTs } = windowAt(minute, 0)
    const verdict = verdictOf(rule, latest.get(minute) as number)
    if (raised) raised = verdict !== 'fine'
    else if (verdict === 'breach') raised = endTs - (since ??= startTs) >= rule.forMs
    if (verdict !== 'breach' && !raised) since = null
  }
  return raised
}

test('forgetting windows that can no longer be corrected changes nothing that is said', () => {
  const values = fc.array(fc.constantFrom(50, 75, 90), { maxLength: 80 })
  fc.assert(
    fc.property(values, fc.constantFrom(0, 180_000), (list, forMs) => {
      const rule = settings({ on: onWindow(), clear: 60, forMs })
      const [all, few] = [newTrack(1, 'pressure'), newTrack(1, 'pressure')]
      list.forEach((value, minute) => {
        const window = windowAt(minute, value)
        const short = { correctableMs: 120_000, max: 3 }
        assert.deepEqual(judgeWindow(few, rule, window, short, 300_000), judgeWindow(all, rule, window, HELD, 300_000))
        assert.ok(few.windows.length <= 3)
      })
    }),
    { numRuns: 300, seed: 11 },
  )
})

test('figures of a window', () => {
  const window = { ...windowAt(0, 1), first: 10, last: 40, count: 7 }
  assert.deepEqual([figureOf(window, 'change'), figureOf(window, 'rate'), figureOf(window, 'count')], [30, 0.5, 7])
})
