import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openBackend } from './backend.ts'

test('whoever asks first while the library loads gets the backend, and whoever asks meanwhile too', async () => {
  const opened = await Promise.all([openBackend('wasm'), openBackend('wasm'), openBackend('wasm')])
  assert.deepEqual(
    opened.map(({ name, tf }) => [name, tf.getBackend()]),
    opened.map(() => ['wasm', 'wasm']),
  )
})
