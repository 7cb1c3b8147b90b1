/** What both sides hold of one kind after its move. */
export interface MoveCount {
  what: string
  /** What the source holds and was to move. */
  source: number
  /** What stays behind by intention. */
  left: number
  /** What the target holds. */
  target: number
  agrees: boolean
}

/** Told while something is moved. */
export type OnProgress = (what: string, done: number, total: number) => void

/** Moves one kind of thing; done again, it goes on where it was and doubles nothing. */
export interface Mover {
  /** What the target holds of it before the first move, in words; empty when nothing. */
  held(): Promise<string[]>
  move(onProgress: OnProgress): Promise<void>
  /** What is on both sides now. */
  counts(): Promise<MoveCount[]>
}
