import { UTF8_BYTES_PER_UNIT } from './entry-layout.ts'

/** A partition of a topic as one number: topic id in the upper 16 bits, partition in the lower. */
export type Slot = number

export const TOPIC_IDS_MAX = 65_536
export const PARTITIONS_MAX = 1_024
/** A group's name must fit LMDB's keys (1 978 bytes) in UTF-8. */
export const GROUP_CHARACTERS_MAX = Math.floor((1_978 - 4) / UTF8_BYTES_PER_UNIT)

export function slotOf(topicId: number, partition: number): Slot {
  return topicId * 65_536 + partition
}

/** Key of a partition's head and tail. */
export function partitionKey(slot: Slot): Buffer {
  const key = Buffer.allocUnsafe(4)
  key.writeUInt32BE(slot)
  return key
}

/** Key of an entry: big-endian, so that LMDB's order is the log's. */
export function entryKey(slot: Slot, baseOffset: number): Buffer {
  const key = Buffer.allocUnsafe(10)
  key.writeUInt32BE(slot)
  key.writeUIntBE(baseOffset, 4, 6)
  return key
}

export function offsetOfEntryKey(key: Buffer): number {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(4, 6)
}

export function committedKey(slot: Slot, group: string): Buffer {
  return Buffer.concat([partitionKey(slot), Buffer.from(group)])
}
