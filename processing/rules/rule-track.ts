import type { MetricValue } from '../../contracts/reading.ts'

/** A reading as evidence names it. */
export interface SeenReading {
  ts: number
  value: MetricValue
  partition: number
  offset: number
}

/** A window as a rule judged it. */
export interface JudgedWindow {
  startTs: number
  endTs: number
  revision: number
  value: number
}

/** What came before the windows that are held. */
export interface WindowBase {
  raised: boolean
  /** Start of the first window since which it is broken; null while it is not. */
  sinceTs: number | null
}

/** One rule on one device. */
export interface RuleTrack {
  /** Version of the rule that judged last. */
  ruleVersion: number
  metric: string
  /** It was told, and not yet that it is over. */
  raised: boolean
  /** First of the values since which it is broken; null while it is not. */
  since: SeenReading | null
  /** Event time of the newest value judged, epoch ms. */
  lastTs: number
  /** Event time of the last time that it was told. */
  toldTs: number
  /** Of rules on windows. */
  base: WindowBase
  /** In order of time; those that may still be corrected. */
  windows: JudgedWindow[]
}

export function newTrack(ruleVersion: number, metric: string): RuleTrack {
  return {
    ...{ ruleVersion, metric, raised: false, since: null, lastTs: -Infinity, toldTs: -Infinity },
    base: { raised: false, sinceTs: null },
    windows: [],
  }
}

/** What a track has to say after a value. `repeated`: it goes on, or rests on a corrected window now. */
export type Said = 'raised' | 'repeated' | 'cleared' | 'retracted'
