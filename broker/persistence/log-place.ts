import type { BrokerPacket } from './packet.ts'

/** Where in the event log's topic of commands a message came from. */
export interface LogPlace {
  partition: number
  offset: number
}

const PREFIX = 'log/'

/**
 * A message from the log in the terms in which Aedes tells messages apart: a source and a counter that grows in it. Whichever process
 * handles it gives it the same identity, so that it is known again.
 */
export function identityOf({ partition, offset }: LogPlace): { brokerId: string; brokerCounter: number } {
  return { brokerId: PREFIX + partition, brokerCounter: offset + 1 }
}

/** The inverse of `identityOf`; undefined for a message that did not come from the log. */
export function placeOf({ brokerId, brokerCounter }: Pick<BrokerPacket, 'brokerId' | 'brokerCounter'>): LogPlace | undefined {
  if (brokerId === undefined || brokerCounter === undefined || !brokerId.startsWith(PREFIX)) return undefined
  return { partition: Number(brokerId.slice(PREFIX.length)), offset: brokerCounter - 1 }
}
