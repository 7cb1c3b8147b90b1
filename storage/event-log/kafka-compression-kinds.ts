import * as zlib from 'node:zlib'

/* Apart from the compressing itself: the configuration asks only this, and should not load a Kafka client. */

/** In the order of their numbers in a batch's attributes. */
export const COMPRESSIONS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
export type Compression = (typeof COMPRESSIONS)[number]

/** Can this Node do it? zstd came to Node with 22.15; the others are always there. */
export function isAvailable(compression: Compression): boolean {
  return compression !== 'zstd' || 'zstdCompressSync' in zlib
}
