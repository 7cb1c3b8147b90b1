import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FleetpulseError } from '../../kernel/errors.ts'
import { openModel, sealModel } from './model-file.ts'
import { testSigner, trainedModel } from './testing/trained-model.ts'

const { bytes, model, signer } = await trainedModel({ epochs: 1 })
const WANTED = { tenant: 'default', type: 'pump', version: 1 }
const { sha256: _sum, ...manifest } = model.manifest

function isRefusal(pattern: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof FleetpulseError)
    assert.equal(error.code, 'MODEL_REFUSED')
    assert.match(error.message, pattern)
    assert.match(error.remedy ?? '', /former model keeps serving/)
    return true
  }
}

test('what was sealed is opened again', async () => {
  const opened = await openModel(bytes, await signer.publicKeys(), WANTED)
  assert.deepEqual(opened.manifest, model.manifest)
  assert.deepEqual(opened.weights, model.weights)
})

test('a file that is unsigned, of another key, of another shape or of another version is refused', async () => {
  const keys = await signer.publicKeys()
  const open = (file: Uint8Array, wanted = WANTED) => openModel(file, keys, wanted)
  await assert.rejects(open(new Uint8Array(0)), isRefusal(/no model file/))
  await assert.rejects(open(Buffer.from('FPM1')), isRefusal(/no model file/))
  await assert.rejects(open(bytes.subarray(0, 40)), isRefusal(/cut short/))
  await assert.rejects(open(bytes.subarray(0, bytes.length - 4)), isRefusal(/not what was signed/))
  await assert.rejects(openModel(bytes, [], WANTED), isRefusal(/key is not known/))
  const { backgrounds, weights } = model
  await assert.rejects(open(await sealModel(manifest, weights, backgrounds, await testSigner())), isRefusal(/key is not known/))
  await assert.rejects(open(bytes, { ...WANTED, version: 2 }), isRefusal(/version 1 of/))
  await assert.rejects(open(bytes, { ...WANTED, tenant: 'other' }), isRefusal(/default\/pump/))
  const wider = { ...manifest, shape: { ...manifest.shape, hidden: manifest.shape.hidden + 1 } }
  await assert.rejects(open(await sealModel(wider, weights, backgrounds, signer)), isRefusal(/another shape/))
  const fewer = { ...manifest, metrics: manifest.metrics.slice(1) }
  await assert.rejects(open(await sealModel(fewer, weights, backgrounds, signer)), isRefusal(/another shape/))
  await assert.rejects(open(await sealModel({ ...manifest, threshold: 0 }, weights, backgrounds, signer)), isRefusal(/threshold/))
  await assert.rejects(
    open(
      await sealModel(
        manifest,
        weights.map(() => Number.NaN),
        backgrounds,
        signer,
      ),
    ),
    isRefusal(/not a number/),
  )
})

test('any byte that was changed is found', async () => {
  const keys = await signer.publicKeys()
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
      const damaged = Uint8Array.from(bytes)
      damaged[at]! ^= by
      await assert.rejects(openModel(damaged, keys, WANTED), isRefusal(/./))
    }),
    { numRuns: 60, seed: 11 },
  )
})
