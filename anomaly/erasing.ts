import { ModelStore } from './models/model-store.ts'
import { eraseFromCards } from './models/nameless.ts'
import { PEER_SUMMARIES_COLLECTION, type PeerSummary } from './peers/peer-summary.ts'
import type { Documents } from '../storage/documents/documents.ts'

/** Summaries that are looked at together. */
const PAGE = 100

/** Where an id was taken off. */
export interface TracesErased {
  modelCards: number
  peerSummaries: number
}

/**
 * Takes the id of a device that left off the cards of models that learnt from it, and off summaries that name it as typical of its type. What the
 * model learnt and what the summary says stays: neither tells whose it was. Repeating it changes nothing.
 */
export async function eraseTraces(documents: Documents, tenant: string, device: string): Promise<TracesErased> {
  const store = new ModelStore(documents)
  await store.open()
  return { modelCards: await eraseFromCards(store, tenant, device), peerSummaries: await eraseFromSummaries(documents, tenant, device) }
}

async function eraseFromSummaries(documents: Documents, tenant: string, device: string): Promise<number> {
  const summaries = await documents.collection<PeerSummary>({
    name: PEER_SUMMARIES_COLLECTION,
    indexes: [{ name: 'by-number', paths: ['number'] }],
  })
  let erased = 0
  for (;;) {
    const page = await summaries.find({ tenant, 'metrics.typical': device }, { limit: PAGE })
    for (const { _id, version, metrics } of page) {
      const without = metrics.map((one) => ({ ...one, typical: one.typical.filter((typical) => typical !== device) }))
      const written = await summaries.update(_id, { $set: { metrics: without } }, version)
      if (written.status === 'written') erased++
    }
    if (page.length === 0) return erased
  }
}
