import type { Explanation } from '../../contracts/anomaly.ts'
import { plain } from '../numeric-finding.ts'
import { PEER_PARAMETERS, type Placed } from './peer-comparison.ts'
import { PLACE, USUAL_LENGTH, type PeerState } from './peer-state.ts'
import type { PeerSummary } from './peer-summary.ts'

/** Comparisons before a device is judged by them. */
export const PEER_WARM_UP = 10
export const PEER_DETECTOR = { name: 'peers', version: 1, warmUpReadings: PEER_WARM_UP } as const
/** Half of the band: so many spreads of the peers around where the device usually is among them. */
const BAND_SPREADS = 3

/** One figure of one metric, compared. */
export interface Compared extends Placed {
  readonly metric: string
  readonly kind: 'level' | 'liveliness'
  readonly own: number
  /** How much farther away than usual it has been lately. */
  readonly excess: number
  readonly figures: Float64Array
  readonly usualAt: number
  readonly typical: readonly string[]
}

/** Expected is the peers' median; the band holds where they are and where this device usually is among them. */
export function explainPeers(told: {
  compared: readonly Compared[]
  novelty: number
  phase: 'raised' | 'cleared'
  summary: PeerSummary
  state: PeerState
  slotMs: number
}): Explanation {
  const { compared, novelty, phase, summary, state, slotMs } = told
  const squares = compared.reduce((sum, { excess }) => sum + excess * excess, 0)
  const contributions = compared
    .map(({ metric, kind, excess }) => ({
      part: kind === 'level' ? metric : `${metric} varies`,
      weight: squares === 0 ? 0 : (novelty * excess * excess) / squares,
    }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight)
  const most = compared.reduce((largest, one) => (one.excess > largest.excess ? one : largest))
  const { own, median, spread, others, typical, metric, kind } = most
  const usual = median + most.figures[most.usualAt + PLACE]! * spread
  const low = Math.min(median, usual) - BAND_SPREADS * spread
  const named = typical.filter((device) => device !== state.device)
  return {
    text: phase === 'raised' ? `${sentenceOf(most, named)}; ${seenText(state.compared)}` : `${state.metric} is among its peers again`,
    observed: own,
    expected: median,
    low: kind === 'liveliness' ? Math.max(0, low) : low,
    high: Math.max(median, usual) + BAND_SPREADS * spread,
    contributions,
    detector: PEER_DETECTOR.name,
    detectorVersion: PEER_DETECTOR.version,
    parameters: {
      ...PEER_PARAMETERS,
      ...{ slotMs, metric, figure: kind, peers: others, typicalPeers: named.join(', '), summary: summary.number, slotTs: summary.slotTs },
      usual: usualText(compared),
    },
    readingsSeen: state.compared,
  }
}

/** What was usual of each figure that was compared, so that the score can be told again without the device's whole past. */
function usualText(compared: readonly Compared[]): string {
  return JSON.stringify(
    compared.map(({ metric, kind, figures, usualAt }) => [metric, kind, ...figures.subarray(usualAt, usualAt + USUAL_LENGTH)]),
  )
}

/** A figure that was compared, with what was usual of it. */
export interface UsualFigure {
  readonly metric: string
  readonly kind: Compared['kind']
  readonly figures: Float64Array
}

/** The same from the text; undefined for what is no such text. */
export function usualFrom(text: string | number | boolean | undefined): UsualFigure[] | undefined {
  if (typeof text !== 'string') return undefined
  const told = JSON.parse(text) as [string, Compared['kind'], ...number[]][]
  return told.map(([metric, kind, ...figures]) => ({ metric, kind, figures: Float64Array.from(figures) }))
}

function sentenceOf({ metric, kind, own, median, spread, others }: Compared, typical: readonly string[]): string {
  const where = `${plain(Math.abs(own - median) / spread)} spreads ${own > median ? 'above' : 'below'} the ${plain(median)}`
  const whose = `of ${others} others of its type${typical.length === 0 ? '' : ` (such as ${typical.slice(0, 3).join(', ')})`}`
  return kind === 'level' ? `${metric} ${plain(own)} is ${where} ${whose}` : `${metric} varies by ${plain(own)}, which is ${where} ${whose}`
}

function seenText(compared: number): string {
  return compared < PEER_WARM_UP ? `learning, ${compared} of ${PEER_WARM_UP} comparisons` : `${compared} comparisons`
}
