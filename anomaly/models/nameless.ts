import type { ModelDataset } from '../../contracts/model.ts'
import type { CardDocument, ModelStore } from './model-store.ts'

/** What stands where a device's id stood. */
export const ERASED_DEVICE = 'erased'

/** A dataset as before, but that some devices are not named. */
export function withoutNames(dataset: ModelDataset, devices: readonly string[]): ModelDataset {
  const nameless = <E extends { device: string }>(entry: E): E =>
    devices.includes(entry.device) ? { ...entry, device: ERASED_DEVICE } : entry
  return { ...dataset, devices: dataset.devices.map(nameless), excluded: dataset.excluded.map(nameless) }
}

/**
 * Takes a device's id off the cards of the models that learnt from it; answers how many named it. One that is in training may have read the device
 * before it was erased and write its card afterwards: it is told, on the card, whose name it is to leave out.
 */
export async function eraseFromCards(store: ModelStore, tenant: string, device: string): Promise<number> {
  const named = [{ 'dataset.devices.device': device }, { 'dataset.excluded.device': device }]
  const cards = await store.cards.find({ tenant, $or: [...named, { state: { $in: ['queued', 'training'] } }] })
  let erased = 0
  for (const { type, number } of cards) {
    let wasNamed = false
    await store.changeCard(tenant, type, number, ({ dataset, state, erasedMeanwhile }) => {
      wasNamed = dataset !== null && [...dataset.devices, ...dataset.excluded].some((entry) => entry.device === device)
      const changes: Partial<CardDocument> = {}
      if (dataset !== null && wasNamed) changes.dataset = withoutNames(dataset, [device])
      if (state === 'queued' || state === 'training') changes.erasedMeanwhile = [...new Set([...(erasedMeanwhile ?? []), device])]
      return changes
    })
    if (wasNamed) erased++
  }
  return erased
}
