import type { RoadSettings } from '../../contracts/operator.ts'

/** Several kinds of settings that the loop asks as one. */
export class SettingsTogether implements RoadSettings {
  readonly #all: readonly RoadSettings[]

  constructor(all: readonly RoadSettings[]) {
    this.#all = all
  }

  isBehind(partitions: Iterable<number>): boolean {
    const held = [...partitions]
    return this.#all.some((one) => one.isBehind(held))
  }

  async take(group: string, partitions: readonly number[]): Promise<void> {
    for (const one of this.#all) await one.take(group, partitions)
  }

  async adopt(group: string, next: ReadonlyMap<number, number>): Promise<void> {
    for (const one of this.#all) if (one.isBehind(next.keys())) await one.adopt(group, next)
  }
}
