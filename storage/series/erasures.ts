import type { LoggedReading } from '../../contracts/reading.ts'

/**
 * Devices whose readings were erased, each with the instant of receipt before which: what the event log brings again of them is not stored.
 * In memory, about a hundred bytes each; the engine keeps them on disk.
 */
export class Erasures {
  readonly #byTenant = new Map<string, Map<string, number>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  note(tenant: string, device: string, receivedBefore: number): void {
    let devices = this.#byTenant.get(tenant)
    if (devices === undefined) this.#byTenant.set(tenant, (devices = new Map<string, number>()))
    if (!devices.has(device)) this.#size++
    devices.set(device, Math.max(receivedBefore, devices.get(device) ?? 0))
  }

  /** The rows that were not erased; the very same array when that is all of them, as it nearly always is. */
  without(rows: readonly LoggedReading[]): readonly LoggedReading[] {
    if (this.#size === 0 || !rows.some((row) => this.#isErased(row))) return rows
    return rows.filter((row) => !this.#isErased(row))
  }

  #isErased({ tenant, device, receivedAt }: LoggedReading): boolean {
    const receivedBefore = this.#byTenant.get(tenant)?.get(device)
    return receivedBefore !== undefined && receivedAt < receivedBefore
  }
}
