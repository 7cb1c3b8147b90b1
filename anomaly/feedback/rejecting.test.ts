import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../kernel/random.ts'
import { BASES, EVENT_KINDS, seriesWithEvents, type EventKind } from '../synthetic-events.ts'
import { anomaliesOf, othersFor, raisedIn, readingOf, reject, ruleOf, type Tally } from './testing/judging.ts'

// The seeds are others than those that the constants were chosen with.
test('rejecting a pattern removes at least 80 % of its repeats and no other alarm', (t) => {
  const all: Tally = { repeats: 0, repeatsLeft: 0, others: 0, othersLost: 0 }
  for (const kind of Object.keys(EVENT_KINDS) as EventKind[]) {
    const tally: Tally = { repeats: 0, repeatsLeft: 0, others: 0, othersLost: 0 }
    for (const base of Object.keys(BASES) as (keyof typeof BASES)[]) {
      for (const other of othersFor(kind, base)) {
        const random = seededRandom(`fresh-a ${kind} ${other} ${base}`)
        reject(seriesWithEvents({ base, kinds: [kind, kind, other], readings: 3_000, quiet: 700, every: 250, random }), kind, tally)
      }
    }
    t.diagnostic(
      `${kind}: ${tally.repeats - tally.repeatsLeft} of ${tally.repeats} repeats gone, ${tally.othersLost} of ${tally.others} others lost`,
    )
    for (const key of Object.keys(all) as (keyof Tally)[]) all[key] += tally[key]
  }
  assert.ok(all.repeats >= 30, `${all.repeats} repeats are too few to tell`)
  assert.ok(all.repeatsLeft <= 0.2 * all.repeats, `${all.repeatsLeft} of ${all.repeats} repeats are left`)
  assert.equal(all.othersLost, 0, `${all.othersLost} of ${all.others} other alarms were lost`)
})

test('the like of a confirmed anomaly comes sooner, or at all where it stayed below the threshold, and never later', (t) => {
  const tally = { repeats: 0, sooner: 0, later: 0, found: 0, foundBefore: 0, falseBefore: 0, falseAfter: 0 }
  for (const kind of ['ramp', 'trend down', 'platform', 'noise burst'] as const) {
    for (const base of Object.keys(BASES) as (keyof typeof BASES)[]) {
      const random = seededRandom(`confirm ${kind} ${base}`)
      const { values, events } = seriesWithEvents({ base, kinds: [kind], readings: 3_000, quiet: 700, every: 250, random })
      const before = anomaliesOf(values, [])
      const [first] = events.flatMap((event) => raisedIn(before, event) ?? [])
      if (first === undefined) continue
      const cleared = before.find(({ phase, ts }) => phase === 'cleared' && ts >= first.ts)
      const after = anomaliesOf(values, [ruleOf(first, cleared, 'confirmed')])
      for (const event of events) {
        const [was, is] = [raisedIn(before, event), raisedIn(after, event)]
        if (was === first) continue
        tally.repeats++
        if (was !== undefined) tally.foundBefore++
        if (is !== undefined) tally.found++
        if (is !== undefined && (was === undefined || is.ts < was.ts)) tally.sooner++
        if (was !== undefined && (is === undefined || is.ts > was.ts)) tally.later++
      }
      const outside = (one: (typeof before)[number]): boolean =>
        one.phase === 'raised' && !events.some(({ from, to }) => readingOf(one) >= from && readingOf(one) < to + 12)
      tally.falseBefore += before.filter(outside).length
      tally.falseAfter += after.filter(outside).length
    }
  }
  t.diagnostic(JSON.stringify(tally))
  assert.ok(tally.repeats >= 30, `${tally.repeats} repeats are too few to tell`)
  assert.ok(tally.sooner > 0, 'some come sooner')
  assert.equal(tally.later, 0)
  assert.ok(tally.found >= tally.foundBefore)
  const more = tally.found - tally.foundBefore
  assert.ok(
    tally.falseAfter - tally.falseBefore <= more / 2,
    `${tally.falseBefore} false ones before, ${tally.falseAfter} after; ${more} more found`,
  )
})
