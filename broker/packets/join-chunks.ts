/** Up to this size, in bytes, a loop beats the call that copies; most of what the broker writes are pieces of four-byte packets. */
const TINY_BYTES = 8

/** One buffer of its own from the pieces in which the broker writes its packets. */
export function joinChunks(chunks: readonly { chunk: Buffer }[]): Buffer {
  let size = 0
  for (const { chunk } of chunks) size += chunk.length
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const { chunk } of chunks) {
    if (chunk.length > TINY_BYTES) bytes.set(chunk, at)
    else for (let i = 0; i < chunk.length; i++) bytes[at + i] = chunk[i]!
    at += chunk.length
  }
  return bytes
}
