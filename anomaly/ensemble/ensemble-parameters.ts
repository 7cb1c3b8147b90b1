/** Parameters of the ensemble: few, the same for every series, and none of them a unit of the data. */
export interface EnsembleParameters {
  /** Combined surprise at which novelty is 0.5, which is where an event begins. */
  halfNoveltyAt: number
  /** Values over which surprise is averaged; half of a verdict is this mean, half is the value itself. */
  noveltyMeanReadings: number
  /** The repeats of one event are kept low in the score for this share of the values seen so far, within the bounds. */
  eventShare: number
  eventReadingsMin: number
  eventReadingsMax: number
  /** During an event only what surprises so many times as much as its peak counts as something new. */
  eventStep: number
  /** Values before the score is at full strength. */
  warmUpReadings: number
}

export const ENSEMBLE_DEFAULTS: Readonly<EnsembleParameters> = {
  halfNoveltyAt: 0.8,
  noveltyMeanReadings: 6,
  eventShare: 0.02,
  eventReadingsMin: 10,
  eventReadingsMax: 1_000,
  eventStep: 2.5,
  warmUpReadings: 150,
}
