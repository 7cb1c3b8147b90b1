import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RuleView } from '../processing/rules/rules-service.ts'
import { parseRules, planRules } from './rules-file.ts'

const hot = { name: 'hot', metric: 'temperature', is: 'above', raise: 80, severity: 'critical' }
const kept = (rule: object, id: string): RuleView => {
  const [settings] = parseRules(JSON.stringify(rule), 'f')
  const about = { id, ruleVersion: 3, activeFrom: 1, createdBy: 'user:a', createdAt: 1, updatedBy: 'user:a', updatedAt: 1, version: 7 }
  return { ...(settings as RuleView), ...about }
}

test('a file says what is to be done, and what the platform lists can be given back to it', () => {
  const platform = [kept(hot, 'r1'), kept({ ...hot, name: 'cold', is: 'below', raise: 2 }, 'r2'), kept({ ...hot, name: 'old' }, 'r3')]
  const listed = parseRules(JSON.stringify(platform), 'f')
  assert.deepEqual(
    planRules(listed, platform, true).map(({ status }) => status),
    ['unchanged', 'unchanged', 'unchanged'],
  )
  const file = parseRules(
    JSON.stringify([
      { ...hot, raise: 90 },
      { ...hot, name: 'cold', is: 'below', raise: 2 },
      { ...hot, name: 'new' },
    ]),
    'f',
  )
  const steps = (prune: boolean) => planRules(file, platform, prune).map(({ status, name, kept: before }) => [status, name, before?.id])
  assert.deepEqual(steps(false), [
    ['changed', 'hot', 'r1'],
    ['unchanged', 'cold', 'r2'],
    ['created', 'new', undefined],
  ])
  assert.deepEqual(steps(true).at(-1), ['removed', 'old', 'r3'])
})

test('every fault of a file is named with its path', () => {
  assert.throws(() => parseRules('nonsense', 'f'), /f is not JSON/)
  assert.throws(
    () => parseRules(JSON.stringify([hot, { ...hot, raise: undefined, oops: 1 }, 5]), 'f'),
    (error: Error) => {
      for (const part of ['1.oops: is not a known key', '1.raise: is missing', '1.name: there is another "hot"', '2.name: is missing'])
        assert.ok(error.message.includes(part), `${part} in ${error.message}`)
      return true
    },
  )
  assert.throws(() => planRules(parseRules(JSON.stringify(hot), 'f'), [kept(hot, 'r1'), kept(hot, 'r2')], false), /r1 and r2/)
})
