import { bytesOf, ByteReader, type ByteWriter } from '../../../kernel/byte-stream.ts'
import { bytesOfFloats, floatsOf } from '../model-file.ts'
import type { Checkpoint } from './training.ts'

/** A checkpoint with the sum of the windows that it belongs to, as bytes. */
export function encodeCheckpoint(sha256: string, { epoch, weights, optimizer, best, losses }: Checkpoint): Uint8Array {
  return bytesOf((writer) => {
    writer.text(sha256)
    writer.integer(epoch)
    for (const floats of [weights, optimizer, best.weights]) writeFloats(floats, writer)
    writer.integer(best.epoch)
    writer.double(best.loss)
    writer.integer(losses.length)
    for (const loss of losses) writer.double(loss)
  })
}

/** Null where it belongs to other windows: then nothing of it can be gone on from. Throws StoreError on bytes that end too early. */
export function decodeCheckpoint(bytes: Uint8Array, sha256: string): Checkpoint | null {
  const reader = new ByteReader(bytes)
  if (reader.text() !== sha256) return null
  const epoch = reader.integer()
  const [weights, optimizer, bestWeights] = [readFloats(reader), readFloats(reader), readFloats(reader)]
  const best = { epoch: reader.integer(), loss: reader.double(), weights: bestWeights }
  const losses = Array.from({ length: reader.integer() }, () => reader.double())
  return { epoch, weights, optimizer, best, losses }
}

function writeFloats(floats: Float32Array, writer: ByteWriter): void {
  const bytes = bytesOfFloats(floats)
  writer.uint32(bytes.byteLength)
  writer.bytes(bytes)
}

function readFloats(reader: ByteReader): Float32Array {
  return floatsOf(reader.bytes(reader.uint32()))
}
