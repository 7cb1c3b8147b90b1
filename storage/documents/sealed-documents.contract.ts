import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import { createLogger, silentLogger, type Logger } from '../../kernel/log.ts'
import type { Collection, CollectionSpec, Documents, Stored } from './documents.ts'
import { SealedDocuments } from './sealed-documents.ts'

interface Letter {
  to: string
  n: number
  words?: string
  drafts?: { text: string }[]
}

const SPEC: CollectionSpec = { name: 'letters', indexes: [{ name: 'to', paths: ['to', 'n'] }], sealed: ['words', 'drafts'] }
const CANARY = 'canary-4711'
const key = (byte: number): ReturnType<typeof createSecretKey> => createSecretKey(Buffer.alloc(32, byte))

/** Everything that sealed documents owe their callers, whatever engine lies below: `open` answers it started and empty. */
export function sealedDocumentsContract(engine: string, open: (t: TestContext) => Promise<Documents>): void {
  const letters = async (documents: Documents, keys: readonly number[], log: Logger = silentLogger): Promise<Collection<Letter>> => {
    const sealed = new SealedDocuments({ documents, keys: () => Promise.resolve(keys.map(key)), record: 'seal-keys', log })
    await sealed.start()
    return sealed.collection<Letter>(SPEC)
  }
  const raw = (documents: Documents): Promise<Collection<Record<string, unknown>>> => documents.collection({ name: SPEC.name, indexes: [] })
  const bare = ({ _id, version: _version, ...rest }: Letter & Stored): Letter => rest

  describe(`sealed documents on ${engine}`, () => {
    it('give back what every way of writing was given, and the engine holds none of it', async (t) => {
      const documents = await open(t)
      const sealed = await letters(documents, [1])
      const of = (n: number): Letter => ({ to: 'x', n, words: `${CANARY} ${n}`, drafts: [{ text: CANARY }] })
      const inserted = await sealed.insert('a', of(1))
      assert.ok(inserted.status === 'written')
      assert.deepEqual(bare(inserted.document), of(1))
      assert.equal((await sealed.insert('a', of(9))).status, 'conflict')
      const replaced = await sealed.replace('a', 1, of(2))
      assert.ok(replaced.status === 'written')
      assert.deepEqual(bare(replaced.document), of(2))
      assert.deepEqual(bare(await sealed.put('b', of(3))), of(3))
      assert.deepEqual(
        await sealed.saveMany([
          { id: 'c', version: 0, document: of(4) },
          { id: 'a', version: 1, document: of(9) },
        ]),
        ['written', 'conflict'],
      )
      const updated = await sealed.update('c', { $set: { to: 'y' } })
      assert.ok(updated.status === 'written')
      assert.deepEqual(bare(updated.document), { ...of(4), to: 'y' })
      assert.deepEqual((await sealed.find({}, { sort: { n: 1 } })).map(bare), [of(2), of(3), { ...of(4), to: 'y' }])
      assert.deepEqual([(await sealed.find({ to: 'x', n: { $gt: 2 } })).map(({ _id }) => _id), await sealed.count({ to: 'x' })], [['b'], 2])
      assert.equal((await sealed.insert('bare', { to: 'z', n: 0 })).status, 'written')
      assert.deepEqual(bare((await sealed.get('bare')) as Letter & Stored), { to: 'z', n: 0 })

      const stored = await (await raw(documents)).find({})
      assert.equal(stored.length, 4)
      for (const document of stored) {
        const everything = Object.values(document).map((value) =>
          value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : JSON.stringify(value),
        )
        assert.ok(!everything.some((text) => text.includes(CANARY)), document._id)
      }
      assert.equal(await sealed.deleteMany({ to: 'x' }), 2)
    })

    it('are read as they are where they were written before', async (t) => {
      const documents = await open(t)
      await (await raw(documents)).insert('old', { to: 'x', n: 1, words: CANARY })
      const sealed = await letters(documents, [1])
      assert.equal((await sealed.get('old'))?.words, CANARY)
      await sealed.update('old', { $set: { n: 2 } })
      assert.deepEqual((await sealed.find({ to: 'x' })).map(bare), [{ to: 'x', n: 2, words: CANARY }])
    })

    it('do not open elsewhere, altered or without their key; that harms no other and is told once', async (t) => {
      const documents = await open(t)
      const lines: string[] = []
      const sealed = await letters(documents, [1], createLogger({ level: 'info', destination: { write: (line) => void lines.push(line) } }))
      for (const [n, id] of ['a', 'b', 'c', 'd', 'e'].entries()) await sealed.insert(id, { to: 'x', n, words: `${CANARY} ${id}` })
      const engineOf = await raw(documents)
      const moved = (await engineOf.get('a'))?.words
      await engineOf.put('b', { to: 'x', n: 1, words: moved })
      const flipped = Uint8Array.from((await engineOf.get('c'))?.words as Uint8Array)
      flipped[25] = (flipped[25] ?? 0) ^ 1
      await engineOf.put('c', { to: 'x', n: 2, words: flipped })
      for (const id of ['b', 'c'])
        await assert.rejects(sealed.get(id), { code: 'STORE_SEALED', message: new RegExp(`words of letters/${id} was altered`) })
      for (let time = 0; time < 2; time++) {
        assert.deepEqual(
          (await sealed.find({ to: 'x' }, { sort: { n: 1 } })).map(({ _id }) => _id),
          ['a', 'd', 'e'],
        )
      }
      const page = await sealed.find({ to: 'x' }, { sort: { n: 1 }, limit: 3 })
      assert.deepEqual(
        page.map(({ _id }) => _id),
        ['a', 'd', 'e'],
        'a page is full where there is more',
      )
      const told = lines.filter((line) => line.includes('STORE_SEALED'))
      assert.deepEqual(
        told.map((line) => /letters\/./.exec(line)?.[0]),
        ['letters/b', 'letters/c'],
      )
      assert.ok(!lines.join().includes(CANARY))

      const [stranger, keyless] = [await letters(documents, [2]), await letters(documents, [])]
      assert.deepEqual([await stranger.find({ to: 'x' }), await keyless.find({ to: 'x' })], [[], []])
      await assert.rejects(stranger.get('a'), { code: 'STORE_SEALED', message: /with key [0-9a-f]{16}, which this process does not have/ })
      await assert.rejects(keyless.get('a'), { code: 'STORE_SEALED', message: /this process has no key/ })
      assert.equal((await sealed.get('a'))?.words, `${CANARY} a`, 'nothing was lost')
    })

    it('change keys: the first seals, all open, and a start without one of them says which', async (t) => {
      const documents = await open(t)
      const lines: string[] = []
      const log = createLogger({ level: 'info', destination: { write: (line) => void lines.push(line) } })
      await (await letters(documents, [1], log)).insert('old', { to: 'x', n: 1, words: 'old' })
      const rotated = await letters(documents, [2, 1], log)
      await rotated.insert('new', { to: 'x', n: 2, words: 'new' })
      assert.deepEqual(
        (await rotated.find({}, { sort: { n: 1 } })).map(({ words }) => words),
        ['old', 'new'],
      )
      assert.deepEqual(lines, [])
      const without = await letters(documents, [2], log)
      assert.match(lines.join(), /documents are sealed with keys that this process does not have/)
      assert.deepEqual(
        (await without.find({})).map(({ words }) => words),
        ['new'],
      )
      const resealed = await rotated.get('old')
      assert.ok(resealed !== null)
      await rotated.replace('old', resealed.version, bare(resealed))
      assert.equal((await without.get('old'))?.words, 'old', 'what is written again has the new key')
    })

    it('refuse to be searched, sorted or changed by what lies sealed', async (t) => {
      const sealed = await letters(await open(t), [1])
      const refused = { code: 'INTERNAL', message: /lies sealed/ }
      await assert.rejects(sealed.find({ words: 'x' }), refused)
      await assert.rejects(sealed.find({ $or: [{ to: 'x' }, { 'drafts.text': 'x' }] }), refused)
      await assert.rejects(sealed.find({}, { sort: { words: 1 } }), refused)
      await assert.rejects(async () => sealed.count({ words: { $exists: true } }), refused)
      await assert.rejects(async () => sealed.deleteMany({ words: null }), refused)
      await assert.rejects(sealed.update('a', { $push: { drafts: { text: 'x' } } }), refused)
    })
  })
}
