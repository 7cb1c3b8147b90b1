import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import { CollectedIntake } from './testing/collected-intake.ts'
import { defaultLimits } from './testing/default-limits.ts'
import { GOLDEN_CASES } from './testing/golden.ts'
import type { GoldenCase } from './testing/golden-case.ts'
import { connect } from './testing/wire.ts'
import { VIOLATIONS } from './violations.ts'

const limits = defaultLimits({ inflightMax: 65_535 })

function deviceBytes(golden: GoldenCase): Buffer {
  const hello = golden.hello === 'none' ? [] : [golden.hello === 'clean' ? connect() : connect({ name: 'MQIsdp', level: 3 })]
  return Buffer.concat([...hello, ...golden.steps.flatMap((step) => ('send' in step ? [step.send] : []))])
}

const cases = GOLDEN_CASES.filter((golden) => !golden.steps.some((step) => 'deliver' in step))

describe('the packet check by itself', () => {
  it('has more than 305 cases, each with a name of its own', () => {
    assert.ok(GOLDEN_CASES.length > 305)
    assert.equal(new Set(GOLDEN_CASES.map((golden) => golden.name)).size, GOLDEN_CASES.length)
  })

  it('reaches every rule', () => {
    const reached = new Set(GOLDEN_CASES.map((golden) => golden.then))
    const elsewhere = ['keepAlive', 'connectTimeout']
    assert.deepEqual(
      Object.keys(VIOLATIONS).filter((name) => !reached.has(name as GoldenCase['then']) && !elsewhere.includes(name)),
      [],
    )
  })

  for (const golden of cases) {
    it(`${golden.name}: ${golden.then}`, () => {
      const bytes = deviceBytes(golden)
      const { violation, disconnected } = new CollectedIntake(limits).take(bytes).outcome
      assert.equal(violation, golden.then === 'open' || golden.then === 'gone' ? undefined : VIOLATIONS[golden.then])
      assert.equal(disconnected, golden.then === 'gone')
    })
  }

  it('comes to the same wherever chunks end', () => {
    const seed = 20_260_101
    const random = seededRandom(seed)
    for (const golden of cases) {
      const bytes = deviceBytes(golden)
      const whole = new CollectedIntake(limits).take(bytes).outcome
      const everyByte = Array.from({ length: bytes.length - 1 }, (_, i) => i + 1)
      const cutSets = [everyByte, ...Array.from({ length: 8 }, () => everyByte.filter(() => integerBetween(random, 0, 4) === 0))]
      for (const cuts of cutSets) {
        assert.deepEqual(
          new CollectedIntake(limits).take(bytes, cuts).outcome,
          whole,
          `seed ${seed}, ${golden.name}, cuts ${cuts.join(' ')}`,
        )
      }
    }
  })

  it('comes to the same for all good conversations in a row', () => {
    const random = seededRandom('in a row')
    const good = cases.filter((golden) => golden.then === 'open' && golden.hello === 'clean')
    const bytes = Buffer.concat([
      connect(),
      ...good.flatMap((golden) => golden.steps.flatMap((step) => ('send' in step ? [step.send] : []))),
    ])
    const whole = new CollectedIntake(limits).take(bytes).outcome
    assert.equal(whole.violation, undefined)
    for (let round = 0; round < 50; round++) {
      const cuts: number[] = []
      for (let at = integerBetween(random, 1, 90); at < bytes.length; at += integerBetween(random, 1, 90)) cuts.push(at)
      assert.deepEqual(new CollectedIntake(limits).take(bytes, cuts).outcome, whole)
    }
  })
})
