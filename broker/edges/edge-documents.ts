import type { Collection, Documents } from '../../storage/documents/documents.ts'

/** Next offset per partition of the topic of commands; partitions as text, for JSON. */
export type Positions = Readonly<Record<string, number>>

/** One edge, from the first start with a data folder until its sessions were taken over. Its id names the lease. */
export interface EdgeDocument {
  /** Of the data folder, the same after every start. */
  edgeId: string
  /** Which run of the process renews it. */
  holder: string
  leaseMs: number
  /** Epoch ms, for people; whether a lease is over is measured by those who watch it. */
  startedAt: number
  renewedAt: number
  /** Every command before these was handled for every device that the edge held. */
  positions: Positions
  /** It was stopped in order and may come back; others need not wait for its lease to end. */
  stopped?: boolean
  /** The lease that declared this one over. Its edge writes nothing more. */
  endedBy?: string
}

/**
 * Who holds a device: its connection, its session and whatever is kept for it. Only the holder gives a seat away, by compare-and-set; when
 * its lease was declared over, anyone takes it the same way.
 */
export interface SeatDocument {
  clientId: string
  /** Id of the holder's lease. */
  lease: string
  /** Id of the lease that asks for it: the device connected there. The latest one that asks gets it. */
  wanted?: string
  /** Commands before these were handled by earlier holders. */
  handled?: Positions
  /** The holder has handled what came between `handled` and its own position when it took the seat. */
  caughtUp?: boolean
  /** Epoch ms of the last change of holder, for people. */
  at: number
}

/** Schema of the message by which an edge asks another one for a seat: it saves waiting for the other one's next look. */
export const SEAT_WANTED = 'seat-wanted/1'

export interface EdgeCollections {
  edges: Collection<EdgeDocument>
  seats: Collection<SeatDocument>
}

export async function openEdgeCollections(documents: Documents, namespace: string): Promise<EdgeCollections> {
  const edges = await documents.collection<EdgeDocument>({ name: `${namespace}-edges`, indexes: [] })
  const seats = await documents.collection<SeatDocument>({
    name: `${namespace}-seats`,
    indexes: [
      { name: 'by-lease', paths: ['lease'] },
      { name: 'by-wanted', paths: ['wanted'] },
    ],
  })
  return { edges, seats }
}
