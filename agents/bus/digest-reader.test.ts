import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { authorLabel, authorOfLabel, namedAuthor } from '../summary/label.ts'
import { digest } from '../testing/agents-fixture.ts'
import { BusKey } from './bus-key.ts'
import { BusDigestReader } from './digest-reader.ts'
import { seal, signed } from './envelope.ts'
import { GOLDEN_EVENTS } from './testing/golden-events.ts'

async function opened(t: TestContext): Promise<{ reader: BusDigestReader; secret: Uint8Array }> {
  const documents = await lmdbDocuments(t)
  const [reader, key] = [new BusDigestReader({ documents }), new BusKey({ documents })]
  await reader.start()
  t.after(() => reader.stop())
  await key.start()
  return { reader, secret: key.secret }
}

const told = { id: 'i1', tenant: 'acme', correlationId: 'c-1' }
const at = Date.parse('2026-11-21T20:00:00.000Z')
const about = (data: Record<string, unknown>) => ({ ...data, eventType: 'SummaryPublished', timestamp: new Date(at).toISOString() })

test('a published digest is read as it was told, with its author', async (t) => {
  const { reader, secret } = await opened(t)
  const author = { kind: 'model' as const, provider: 'compatible', model: 'model/1' }
  const wanted = digest('i1', { tenant: 'acme', revision: 2, author, label: 'Worded by compatible/model/1, figures checked' })
  const message = seal({ type: 'SummaryPublished', sequence: 3, at, data: about({ ...wanted, chatId: 'i1' }) }, told, secret)
  assert.deepEqual(reader.read({ headers: message.headers ?? {}, value: message.value }), wanted)
})

test('a digest of the first version names its author as well', async (t) => {
  const { reader, secret } = await opened(t)
  const [old] = GOLDEN_EVENTS.SummaryPublished
  const message = seal({ type: 'SummaryPublished', sequence: 1, at, data: old as Record<string, unknown> }, told, secret)
  const read = reader.read({ headers: message.headers ?? {}, value: message.value })
  assert.deepEqual([read?.author, read?.publishedAt, read?.causes], [namedAuthor({ kind: 'local' }), at, []])
})

test('what a label names is what it was made of', () => {
  for (const author of [{ kind: 'local' as const }, { kind: 'llm' as const, provider: 'claude', model: 'org/some, model-5' }]) {
    assert.deepEqual(authorOfLabel(authorLabel(author)), namedAuthor(author))
  }
})

test('nobody else can tell of a digest, and other events are none', async (t) => {
  const { reader, secret } = await opened(t)
  const data = about({ ...digest('i1'), chatId: 'i1' })
  const forged = seal({ type: 'SummaryPublished', sequence: 1, at, data }, told, randomBytes(32))
  const unsigned = signed({ specversion: '1.0' }, data, secret)
  const { ce_signature: _signature, ...rest } = unsigned.headers
  const floor = seal(
    { type: 'FloorGranted', sequence: 1, at, data: GOLDEN_EVENTS.FloorGranted[0] as Record<string, unknown> },
    told,
    secret,
  )
  for (const { headers = {}, value } of [forged, { headers: rest, value: unsigned.value }, floor]) {
    assert.equal(reader.read({ headers, value }), null)
  }
})
