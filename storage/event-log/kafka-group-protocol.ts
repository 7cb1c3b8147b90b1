import { Reader, Writer } from '@platformatic/kafka'
import { deal } from './consumer-group.ts'

/** Name of our assignor: all members of a group must know it. */
export const ASSIGNOR = 'fleetpulse-cooperative'
export const PROTOCOL_TYPE = 'consumer'
const SUBSCRIPTION_VERSION = 2
const ASSIGNMENT_VERSION = 0

/** What a member says of itself when it joins. */
export interface Subscription {
  topic: string
  /** Partitions that it has and works on. */
  owned: readonly number[]
  /** The generation in which it got them. */
  generation: number
}

export interface MemberSubscription extends Subscription {
  memberId: string
}

/** Kafka's ConsumerProtocolSubscription, so that Kafka's own tools can show the group. */
export function encodeSubscription({ topic, owned, generation }: Subscription): Buffer {
  return Writer.create()
    .appendInt16(SUBSCRIPTION_VERSION)
    .appendArray([topic], (writer, name) => writer.appendString(name, false), false, false)
    .appendInt32(-1) // no user data
    .appendArray(owned.length === 0 ? [] : [topic], (writer, name) => void writePartitions(writer, name, owned), false, false)
    .appendInt32(generation).buffer
}

export function decodeSubscription(memberId: string, bytes: Buffer): MemberSubscription {
  const reader = Reader.from(bytes)
  const version = reader.readInt16()
  const topics = reader.readArray(() => reader.readString(false), false, false)
  const userDataBytes = reader.readInt32()
  if (userDataBytes > 0) reader.skip(userDataBytes)
  const owned = version >= 1 ? readTopics(reader).flatMap(({ partitions }) => partitions) : []
  const generation = version >= 2 ? reader.readInt32() : -1
  return { memberId, topic: topics[0] ?? '', owned, generation }
}

/** Kafka's ConsumerProtocolAssignment. */
export function encodeAssignment(topic: string, partitions: readonly number[]): Buffer {
  return Writer.create()
    .appendInt16(ASSIGNMENT_VERSION)
    .appendArray([topic], (writer, name) => void writePartitions(writer, name, partitions), false, false)
    .appendInt32(-1).buffer
}

export function decodeAssignment(bytes: Buffer): number[] {
  if (bytes.length === 0) return []
  const reader = Reader.from(bytes)
  reader.skip(2)
  return readTopics(reader)
    .flatMap(({ partitions }) => partitions)
    .sort((a, b) => a - b)
}

/**
 * Who gets which partitions. They are dealt out evenly, moving as few as possible; one that another member still works on is left out
 * until that member has given it back, which it does by joining once more.
 */
export function assignPartitions(members: readonly MemberSubscription[], partitions: number): Map<string, number[]> {
  const owners = new Map<number, MemberSubscription>()
  for (const member of members) {
    for (const partition of member.owned) {
      const other = owners.get(partition)
      // Who claims it with an older generation slept through a rebalance.
      if (other === undefined || other.generation < member.generation) owners.set(partition, member)
    }
  }
  const sorted = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
  const owned = sorted.map((member) => member.owned.filter((partition) => owners.get(partition) === member))
  const dealt = deal(owned, partitions)
  return new Map(
    sorted.map((member, i) => [
      member.memberId,
      dealt[i]!.filter((partition) => {
        const owner = owners.get(partition)
        return owner === undefined || owner === member
      }),
    ]),
  )
}

function writePartitions(writer: Writer, topic: string, partitions: readonly number[]): void {
  writer.appendString(topic, false).appendArray([...partitions], (inner, partition) => inner.appendInt32(partition), false, false)
}

function readTopics(reader: Reader): { topic: string; partitions: number[] }[] {
  return reader.readArray(
    () => ({ topic: reader.readString(false), partitions: reader.readArray(() => reader.readInt32(), false, false) }),
    false,
    false,
  )
}
