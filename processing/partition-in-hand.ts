/** A partition that a worker of the loop over readings holds at the moment. */
export interface Partition {
  nextReading: number
  nextRejected: number
  /** Outputs of readings below this offset were committed before the partition was taken. */
  committedBefore: number
  /** It is being given back. */
  leaving: boolean
}
