import { randomBytes } from 'node:crypto'

/** Source of chance for jitter, simulators and samplers. Never for keys or tokens: those come from node:crypto. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
}

/** Deterministic generator (sfc32): the same seed gives the same sequence on every machine. */
export function seededRandom(seed: number | string): Random {
  let a = 0x9e3779b9 | 0
  let b = 0x243f6a88 | 0
  let c = 0xb7e15162 | 0
  let d = hashSeed(String(seed)) | 0
  const step = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return (t >>> 0) / 4_294_967_296
  }
  for (let warmUp = 0; warmUp < 20; warmUp++) step()
  return { next: step }
}

export const systemRandom: Random = { next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48 }

/** Integer in [min, max], both included. */
export function integerBetween(random: Random, min: number, max: number): number {
  return min + Math.floor(random.next() * (max - min + 1))
}

/** Normal deviate with mean 0 and standard deviation 1 (Box–Muller). */
export function gaussian(random: Random): number {
  const u = 1 - random.next()
  return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * random.next())
}

/** FNV-1a, 32 bits. */
export function hashSeed(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i)
    hash = Math.imul(hash, 0x01000193)
  }
  return hash >>> 0
}
