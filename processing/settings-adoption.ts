import type { RoadSettings } from '../contracts/operator.ts'

/** Writes down that the newest changes hold from the next reading of each partition in hand, where they do not hold yet. */
export async function adoptSettings(
  settings: RoadSettings | undefined,
  group: string,
  partitions: ReadonlyMap<number, { readonly nextReading: number; readonly leaving: boolean }>,
): Promise<void> {
  if (settings?.isBehind(partitions.keys()) !== true) return
  const held = [...partitions].filter(([, partition]) => !partition.leaving)
  await settings.adopt(group, new Map(held.map(([number, partition]) => [number, partition.nextReading])))
}
