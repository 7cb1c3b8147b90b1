import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Severity } from '../../contracts/alert.ts'
import { newId } from '../../kernel/ids.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { conversationStore, aboutIncident, agentsLog, T0 } from '../testing/agents-fixture.ts'
import { limitsOf } from '../agents.ts'
import { open } from '../conversation/lifecycle.ts'
import { agentsConfig } from '../testing/agents-fixture.ts'
import { amongTop } from './among-top.ts'

test('in a storm only the most important incidents are worth a model; one that was there before competes with nobody', async (t) => {
  const clock = new VirtualClock(T0)
  const store = await conversationStore(t, { documents: await lmdbDocuments(t), eventLog: await agentsLog(t), clock })
  const limits = limitsOf(agentsConfig())
  const begin = async (severity: Severity, deviceCount: number, tenant = 'default'): Promise<{ id: string; tenant: string }> => {
    const id = newId(clock.nowMs())
    await store.insert(
      id,
      open(aboutIncident(id, { tenant, incident: { id, sequence: 1, severity, deviceCount, site: '' } }), clock.nowMs(), limits),
    )
    await clock.advance(1)
    return { id, tenant }
  }
  const before = await begin('warning', 1)
  await clock.advance(3_600_000)
  const storm = []
  for (let i = 0; i < 40; i++) storm.push(await begin(i % 10 === 0 ? 'critical' : 'warning', i))
  const alone = await begin('warning', 1, 'other')
  const top = async (of: { id: string; tenant: string }): Promise<boolean> =>
    amongTop(of, { store, clock, config: { dialoguesMax: 500 } })(5, 600_000)
  const chosen: number[] = []
  for (const [i, each] of storm.entries()) if (await top(each)) chosen.push(i)
  assert.deepEqual(chosen, [0, 10, 20, 30, 39])
  assert.deepEqual([await top(before), await top(alone)], [true, true])
})
