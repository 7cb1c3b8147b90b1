import type { Database } from 'lmdb'
import { partitionKey, type Slot } from './log-keys.ts'

/** The writing end of a partition. */
export interface Head {
  /** Offset of the next message. */
  next: number
  /** Bytes of all entries ever appended. */
  bytes: number
  /** Epoch ms of the newest entry; never goes back, whatever the wall clock does. */
  appendedAt: number
}

/** The reading end of a partition. */
export interface Tail {
  /** Oldest offset still kept. */
  first: number
  /** Bytes of all entries before it. */
  bytesBefore: number
}

/** What was read, with the version that a conditional write names. */
export type Versioned<T> = T & { version: number }

export const EMPTY_HEAD: Head = { next: 0, bytes: 0, appendedAt: 0 }
export const EMPTY_TAIL: Tail = { first: 0, bytesBefore: 0 }

export function encodeHead(head: Head): Buffer {
  const bytes = Buffer.allocUnsafeSlow(24)
  bytes.writeDoubleLE(head.next, 0)
  bytes.writeDoubleLE(head.bytes, 8)
  bytes.writeDoubleLE(head.appendedAt, 16)
  return bytes
}

export function encodeTail(tail: Tail): Buffer {
  const bytes = Buffer.allocUnsafeSlow(16)
  bytes.writeDoubleLE(tail.first, 0)
  bytes.writeDoubleLE(tail.bytesBefore, 8)
  return bytes
}

/** Undefined for a partition that does not exist. */
export function readHead(heads: Database<Buffer, Buffer>, slot: Slot): Versioned<Head> | undefined {
  const entry = heads.getEntry(partitionKey(slot))
  if (entry === undefined) return undefined
  const { value } = entry
  const head = { next: value.readDoubleLE(0), bytes: value.readDoubleLE(8), appendedAt: value.readDoubleLE(16) }
  return { ...head, version: entry.version ?? 0 }
}

export function readTail(tails: Database<Buffer, Buffer>, slot: Slot): Versioned<Tail> | undefined {
  const entry = tails.getEntry(partitionKey(slot))
  if (entry === undefined) return undefined
  return { first: entry.value.readDoubleLE(0), bytesBefore: entry.value.readDoubleLE(8), version: entry.version ?? 0 }
}
