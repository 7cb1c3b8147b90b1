import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { matchesOf } from '../agents/proactive/patterns.ts'
import { BUILT_IN_RULES } from '../agents/proactive/rule.ts'
import { seededRandom } from '../kernel/random.ts'
import { VirtualClock } from '../kernel/time.ts'
import { NOW, PROACTIVE_FAMILIES, proactiveScenario } from './testing/proactive-scenarios.ts'

/** Scenarios of each family. */
const EACH = 25
/** Of the target: more than 95 of 100 decisions right. */
const ACCURACY_MIN = 0.95
const LIMITS = { alertsMax: 200_000, expiriesMax: 100_000, trendsMax: 1_000 }

interface Counts {
  begun: number
  right: number
  wanted: number
  found: number
  decisions: number
  decidedRight: number
}

/** What the rules that come with the platform begin, family by family. */
async function judged(seed: number): Promise<Map<string, Counts>> {
  const random = seededRandom(seed)
  const clock = new VirtualClock(NOW)
  const signal = new AbortController().signal
  const families = new Map<string, Counts>()
  for (const family of Object.keys(PROACTIVE_FAMILIES)) {
    const counts: Counts = { begun: 0, right: 0, wanted: 0, found: 0, decisions: EACH, decidedRight: 0 }
    for (let i = 0; i < EACH; i++) {
      const { facts, must, may } = proactiveScenario(family, random)
      const begun: string[] = []
      for (const { id, when } of BUILT_IN_RULES) {
        const found = await matchesOf(when, 'default', { facts, clock, limits: LIMITS, signal })
        begun.push(...found.map(({ key }) => `${id} ${key}`))
      }
      const right = begun.filter((each) => must.includes(each) || may.includes(each)).length
      const found = must.filter((each) => begun.includes(each)).length
      counts.begun += begun.length
      counts.right += right
      counts.wanted += must.length
      counts.found += found
      counts.decidedRight += Number(right === begun.length && found === must.length)
    }
    families.set(family, counts)
  }
  return families
}

function sum(families: Map<string, Counts>, what: keyof Counts): number {
  return [...families.values()].reduce((all, counts) => all + counts[what], 0)
}

// One seed that is always the same, and one that nobody has seen before.
for (const seed of [11, Number(process.env.TEST_SEED ?? randomInt(2 ** 31))]) {
  test(`what agents begin by themselves is right, by what the simulator knows (seed ${seed})`, async (t) => {
    const families = await judged(seed)
    for (const [family, { begun, right, wanted, found, decisions, decidedRight }] of families)
      t.diagnostic(
        `${family}: begun ${begun}, right ${right}; wanted ${wanted}, found ${found}; decided right ${decidedRight} of ${decisions}`,
      )
    const precision = sum(families, 'right') / sum(families, 'begun')
    const recall = sum(families, 'found') / sum(families, 'wanted')
    const accuracy = sum(families, 'decidedRight') / sum(families, 'decisions')
    t.diagnostic(`precision ${precision.toFixed(4)}, recall ${recall.toFixed(4)}, decisions right ${accuracy.toFixed(4)}`)
    assert.ok(precision > ACCURACY_MIN, `precision ${precision}`)
    assert.ok(recall > ACCURACY_MIN, `recall ${recall}`)
    assert.ok(accuracy > ACCURACY_MIN, `accuracy ${accuracy}`)
  })
}
