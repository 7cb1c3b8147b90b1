import type { LoggedReading } from '../contracts/reading.ts'
import type { ReadingIdentity } from '../storage/series/series-store.ts'
import type { DeviceState } from './device-states.ts'

/**
 * Indexes of readings whose identity was stored before. What the device's state cannot tell is looked for in the batch and in the store
 * (`storedAlready`, over rows of an earlier offset only, so that a replay finds the same).
 */
export async function findDuplicates(
  readings: readonly LoggedReading[],
  states: readonly DeviceState[],
  storedAlready: (identities: readonly ReadingIdentity[]) => Promise<boolean[]>,
): Promise<Set<number>> {
  const duplicates = new Set<number>()
  const suspects: number[] = []
  for (let i = 0; i < readings.length; i++) {
    const reading = readings[i] as LoggedReading
    const state = states[i] as DeviceState
    if (reading.offset < state.nextOffset) continue
    const novelty = state.identity.observe(reading)
    if (novelty === 'duplicate') duplicates.add(i)
    else if (novelty === 'suspect') suspects.push(i)
  }
  if (suspects.length > 0) await settleSuspects(readings, suspects, duplicates, storedAlready)
  return duplicates
}

async function settleSuspects(
  readings: readonly LoggedReading[],
  suspects: readonly number[],
  duplicates: Set<number>,
  storedAlready: (identities: readonly ReadingIdentity[]) => Promise<boolean[]>,
): Promise<void> {
  const firstOf = new Map<string, number>()
  for (let i = 0; i < readings.length; i++) {
    const identity = identityOf(readings[i] as LoggedReading)
    if (!firstOf.has(identity)) firstOf.set(identity, i)
  }
  const stored = await storedAlready(
    suspects.map((i) => {
      const { tenant, device, ts, boot, seq, partition, offset } = readings[i] as LoggedReading
      return { tenant, device, ts, boot: boot ?? null, seq: seq ?? null, partition, offset }
    }),
  )
  for (const [at, i] of suspects.entries()) {
    if (stored[at] === true || firstOf.get(identityOf(readings[i] as LoggedReading)) !== i) duplicates.add(i)
  }
}

function identityOf(reading: LoggedReading): string {
  const { tenant, device, boot, seq, ts } = reading
  return seq === undefined ? `${tenant}/${device}/${ts}` : `${tenant}/${device}/${boot ?? ''}/${seq}/${ts}`
}
