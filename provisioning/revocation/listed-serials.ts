import type { CrlEntry } from '../ca/crl.ts'

/** Full CRLs that were signed soon after each other. */
interface Issued {
  /** The first one's. */
  number: number
  thisUpdateMs: number
  /** The last one's. */
  nextUpdateMs: number
}

/** So many groups at most are remembered of the time for which a full CRL may be used. */
const GROUPS_MAX = 100

/** Which full CRL of one CA a serial was on first, in this run; and which full CRLs verifiers may hold: what a delta CRL is made from. */
export class ListedSerials {
  #firstOn = new Map<string, number>()
  #inUse: Issued[] = []

  /**
   * Notes what a full CRL lists. Answers the number of the oldest full CRL of this run whose nextUpdate is not over, and what was added
   * since: whoever holds that one, or a later one, is brought up to date by these. RFC 5280 §5.2.4
   */
  note(entries: readonly CrlEntry[], full: Issued): { baseNumber: number; added: CrlEntry[] } {
    this.#inUse = this.#inUse.filter(({ nextUpdateMs }) => nextUpdateMs > full.thisUpdateMs)
    const last = this.#inUse.at(-1)
    const groupMs = (full.nextUpdateMs - full.thisUpdateMs) / GROUPS_MAX
    if (last !== undefined && full.thisUpdateMs < last.thisUpdateMs + groupMs)
      last.nextUpdateMs = Math.max(last.nextUpdateMs, full.nextUpdateMs)
    else this.#inUse.push({ ...full })
    const baseNumber = this.#inUse[0]?.number ?? full.number
    // What has left the list with its expiry is forgotten here, too.
    this.#firstOn = new Map(entries.map(({ serial }) => [serial, this.#firstOn.get(serial) ?? full.number]))
    return { baseNumber, added: entries.filter(({ serial }) => (this.#firstOn.get(serial) ?? 0) > baseNumber) }
  }
}
