import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { codePoint } from '../../kernel/testing/any-text.ts'
import { evidenceId } from './evidence.ts'
import { operatorStatement } from './statement.ts'
import { DISPLAY_LENGTH_MAX, displayText, tainted } from './tainted.ts'

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u

describe('text that is shown', () => {
  test('is what was written, where that is plain', () => {
    for (const text of ['pump-1', 'Kühlraum 3', '冷房', 'température °C', 'a < b & c']) assert.equal(displayText(tainted(text)), text)
  })

  test('holds nothing that hides, turns or colours, and is one bounded line of normal form', () => {
    const nasty = fc.string({
      unit: fc.oneof(
        codePoint,
        fc.constantFrom(
          '\u001b[31m',
          '\u001b]8;;x\u0007',
          '\u202e',
          '\u2066',
          '\u200b',
          '\u{e0041}',
          '\r\n',
          '\u009b1m',
          '\u001b',
          '\ufdfa',
          '\ud800',
        ),
      ),
      maxLength: 400,
    })
    const property = fc.property(nasty, fc.integer({ min: 1, max: 300 }), (text, most) => {
      const shown = displayText(tainted(text), most)
      assert.ok(!UNSEEN.test(shown), JSON.stringify(shown))
      assert.ok(Array.from(shown).length <= most)
      const whole = shown.replace(/…$/u, '')
      assert.equal(whole, whole.normalize('NFKC'))
    })
    fc.assert(property, { seed: 7, numRuns: 300 })
  })

  test('loses whole control sequences, not their first character alone', () => {
    assert.equal(displayText(tainted('a\u001b[31mred\u001b[0m b')), 'ared b')
    assert.equal(displayText(tainted('\u001b]8;;http://attacker.example\u0007link\u001b]8;;\u0007')), 'link')
    assert.equal(displayText(tainted('x'.repeat(9_999))).length, DISPLAY_LENGTH_MAX)
  })
})

describe('evidence', () => {
  test('has another id once anything of it differs, and the same id for the same', () => {
    const content = {
      kind: 'gap',
      status: 'success',
      asOf: 5,
      query: { kind: 'gap', device: 'd', fromTs: 1, toTs: 2 },
      result: { a: 1 },
      refs: [],
      truncated: false,
    } as const
    const others = [
      { ...content, asOf: 6 },
      { ...content, status: 'no_data' as const },
      { ...content, query: { ...content.query, device: 'e' } },
      { ...content, result: { a: 2 } },
      { ...content, truncated: true },
      { ...content, refs: [{ device: 'd', metric: 'm', ts: 1 }] },
    ]
    const id = evidenceId({ ...content, refs: [] })
    assert.match(id, /^ev_[0-9a-f]{16}$/)
    assert.equal(evidenceId({ ...content, refs: [] }), id)
    assert.equal(new Set([id, ...others.map((other) => evidenceId({ ...other, refs: [...other.refs] }))]).size, others.length + 1)
  })

  test('of what an operator states names who, when and a hash, and not the words', () => {
    const stated = operatorStatement('user:ana', 5, tainted('the valve was replaced'))
    assert.ok(!JSON.stringify(stated).includes('valve'))
    assert.notEqual(stated.id, operatorStatement('user:ana', 5, tainted('another')).id)
  })
})
