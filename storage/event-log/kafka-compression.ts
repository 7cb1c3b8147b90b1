import { compressionsAlgorithms } from '@platformatic/kafka'
import { InvalidInputError, StoreError } from '../../kernel/errors.ts'
import { COMPRESSIONS, isAvailable, type Compression } from './kafka-compression-kinds.ts'

/** What a batch's attributes say of its compression. */
export function compressionBits(compression: Compression): number {
  return COMPRESSIONS.indexOf(compression)
}

export function compress(compression: Compression, bytes: Buffer): Buffer {
  if (compression === 'none') return bytes
  if (!isAvailable(compression)) throw unavailable(compression)
  return compressionsAlgorithms[compression].compressSync(bytes)
}

/** `bits` are the three lowest of a batch's attributes. */
export function decompress(bits: number, bytes: Buffer): Buffer {
  const compression = COMPRESSIONS[bits]
  if (compression === undefined) throw new StoreError('STORE_NEWER', `a batch of records has the unknown compression ${bits}`)
  if (compression === 'none') return bytes
  if (!isAvailable(compression)) throw unavailable(compression)
  return compressionsAlgorithms[compression].decompressSync(bytes)
}

function unavailable(compression: Compression): InvalidInputError {
  return new InvalidInputError(`${compression} needs a newer Node than ${process.version}`, {
    remedy: 'Set kafka.compression to lz4, snappy, gzip or none, or use Node 22.15 or newer.',
  })
}
