import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { SUPPORT_DAYS_MIN } from '../agents/bus/deprecations.ts'
import { CATALOGUE, eventCatalogue } from './testing/events-page.ts'
import { readProjectFile, ROOT } from './testing/repository.ts'

const PAGE = 'docs/events.md'

test('docs/events.md lists every version of every event and what becomes of it (UPDATE_DOCS=1 writes the list anew)', () => {
  const page = readProjectFile(PAGE)
  const [plan = ''] = page.split(CATALOGUE)
  const whole = plan + eventCatalogue()
  if (process.env.UPDATE_DOCS === '1') writeFileSync(join(ROOT, PAGE), whole)
  assert.equal(readProjectFile(PAGE), whole)
  assert.ok(plan.includes(`${SUPPORT_DAYS_MIN} days`), 'the plan says for how long both are read')
})
