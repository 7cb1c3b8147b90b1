import assert from 'node:assert/strict'
import { verify } from 'node:crypto'
import { test } from 'node:test'
import { StoreError } from '../../../kernel/errors.ts'
import type { KeyAlgorithm, KeyStore } from './key-store.ts'
import { keyAlgorithmOf, signatureOf } from './signature-algorithm.ts'

const ALGORITHMS: readonly KeyAlgorithm[] = ['ecdsa-p256', 'ecdsa-p384', 'rsa-2048']

/** What every key store does. `open` answers a store over the same keys each time. */
export function keyStoreContract(engine: string, skip: string | false, open: () => Promise<KeyStore>): void {
  for (const algorithm of ALGORITHMS) {
    test(`${engine}: a ${algorithm} key is made, found again, and signs what its public key verifies`, { skip }, async () => {
      const name = `contract-${algorithm}`
      const first = await open()
      assert.equal(await first.has(name), false)
      const made = await first.make(name, algorithm)
      assert.equal(keyAlgorithmOf(made.publicKey), algorithm)
      const again = await (await open()).open(name)
      assert.equal(await (await open()).has(name), true)
      assert.ok(again.publicKey.equals(made.publicKey))
      const { hash, identifier } = signatureOf(made.publicKey)
      assert.ok(again.signatureAlgorithm.equals(identifier))
      // Several at once, of many sizes: a token does one at a time. Often enough to meet an ECDSA number that begins with a zero byte.
      const contents = Array.from({ length: 40 }, (_, index) => Buffer.alloc(1 + index * 50, index))
      const signatures = await Promise.all(contents.map((content) => again.sign(content)))
      for (const [index, content] of contents.entries()) {
        assert.ok(verify(hash, content, made.publicKey, signatures[index] as Buffer), String(index))
        assert.ok(!verify(hash, Buffer.concat([content, Buffer.of(1)]), made.publicKey, signatures[index] as Buffer))
      }
    })
  }

  test(`${engine}: a key that is not there is said so, and a name is used once`, { skip }, async () => {
    const store = await open()
    await assert.rejects(store.open('contract-none'), (error: unknown) => error instanceof StoreError)
    await store.make('contract-once', 'ecdsa-p256')
    await assert.rejects(store.make('contract-once', 'ecdsa-p256'), /already/)
  })
}
