import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { LogMessage } from '../../storage/event-log/event-log.ts'
import { metricValue } from '../../storage/event-log/temporary-log.ts'
import { BusKey } from '../bus/bus-key.ts'
import { DEPRECATIONS } from '../bus/deprecations.ts'
import { open, seal, signed } from '../bus/envelope.ts'
import { GOLDEN_EVENTS } from '../bus/testing/golden-events.ts'
import { agentsConfig, agentsLog, T0 } from '../testing/agents-fixture.ts'
import { Events } from './events.ts'

const tenant = 'default'

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + 60_000
  while (!(await isSo())) {
    if (systemClock.monotonicMs() > endMs) assert.fail(`waited in vain for ${what}`)
    await sleep(systemClock, 10)
  }
}

/** As a writer of this version wrote it. */
function sent(version: 1 | 2, sequence: number, secret: Uint8Array): LogMessage {
  const data = { ...GOLDEN_EVENTS.MessageSent[version - 1] }
  const now = seal({ type: 'MessageSent', sequence, at: T0 + sequence, data }, { id: 'c1', tenant, correlationId: 'c' }, secret)
  const { ce_signature: _, ...headers } = now.headers ?? {}
  const attributes = Object.fromEntries(Object.entries(headers).map(([name, text]) => [name.replace(/^ce_/, ''), text]))
  return { ...now, ...signed({ ...attributes, type: `iot.agents.MessageSent.v${version}` }, data, secret) }
}

test('a deprecated version is taken and counted; a retired one goes to the dead letters with that cause, and holds up nobody', async (t) => {
  const documents = await lmdbDocuments(t)
  const eventLog = await agentsLog(t)
  for (const isRetired of [false, true]) {
    const metrics = new Metrics()
    const common = { documents, eventLog, clock: systemClock, random: seededRandom(1), log: silentLogger, metrics, config: agentsConfig() }
    const key = new BusKey(common)
    await key.start()
    const retired = { 'MessageSent/1': { since: '2025-01-01', until: '2025-12-31', replacedBy: 'MessageSent/2', retired: true } }
    const events = new Events({
      ...{ ...common, key, works: true, auditTrail: { record: async () => undefined }, react: async () => undefined },
      ...(isRetired ? { deprecations: retired } : {}),
    })
    await events.start()
    try {
      const first = isRetired ? 3 : 1
      await eventLog.append(TOPICS.agentMessages, [sent(1, first, key.secret), sent(2, first + 1, key.secret)])
      await until('the newer one is taken', async () =>
        (await events.journal.list({ tenant, limit: 10 })).some(({ sequence }) => sequence === first + 1),
      )
      const sequences = (await events.journal.list({ tenant, limit: 10 })).map(({ sequence }) => sequence).toSorted()
      assert.deepEqual(sequences, isRetired ? [1, 2, 4] : [1, 2])
      const counted = await metricValue(metrics, 'agents_bus_deprecated_events_total')
      assert.equal(counted, isRetired ? 0 : 1)
      if (!isRetired) continue
      await until('the older one is set aside', async () => (await events.deadLetters.list(tenant, { limit: 10 })).items.length === 1)
      const [letter] = (await events.deadLetters.list(tenant, { limit: 10 })).items
      assert.equal(letter?.cause, 'retired: MessageSent/1 is read no more since 2025-12-31; MessageSent/2 replaces it')
    } finally {
      await events.stop()
    }
  }
  assert.equal(DEPRECATIONS['MessageSent/1']?.retired, false)
  const key = Buffer.alloc(32, 7)
  const message = sent(1, 1, key)
  assert.equal(open({ headers: message.headers ?? {}, value: message.value }, key).status, 'event')
})
