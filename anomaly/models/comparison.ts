import type { Feedback } from '../../contracts/feedback.ts'
import type { ModelCard } from '../../contracts/model.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import { newWindow, takeReading } from './device-window.ts'
import type { Scorer } from './scorer.ts'

export type Comparison = NonNullable<ModelCard['comparison']>

/** Labels replayed; the latest count. */
const LABELS_MAX = 200
/** Readings replayed of one label. */
const READINGS_MAX = 2_000

/** Had this model raised an alarm in each of these ranges? Told by replay, from stored readings alone. */
async function alarmsIn(
  scorer: Scorer,
  labels: readonly Feedback[],
  series: Pick<SeriesStore, 'range'>,
  alertThreshold: number,
): Promise<boolean[]> {
  const alarms: boolean[] = []
  const { manifest, width } = scorer
  for (const { tenant, device, fromTs, toTs } of labels) {
    const warmMs = manifest.shape.rows * manifest.gapMs
    const { items } = await series.range({ tenant, device, fromTs: fromTs - warmMs, toTs: toTs + 1, limit: READINGS_MAX })
    const window = newWindow(manifest)
    const windows: Float32Array[] = []
    for (const reading of items.reverse())
      if (takeReading(window, manifest, reading) && reading.ts >= fromTs) windows.push(window.figures.slice())
    const together = new Float32Array(windows.length * width)
    windows.forEach((each, k) => together.set(each, k * width))
    const scores = windows.length === 0 ? [] : scorer.scores(together, windows.length)
    alarms.push(scores.some((score) => score >= alertThreshold))
  }
  return alarms
}

/**
 * A challenger against what serves, over everything that people confirmed and rejected. It is better when it finds a greater share of the
 * confirmed less the rejected than the other does; where none serves, than nothing does.
 */
export async function compareModels(
  challenger: Scorer,
  champion: Scorer | null,
  labels: readonly Feedback[],
  options: { series: Pick<SeriesStore, 'range'>; alertThreshold: number; nowMs: number },
): Promise<Comparison> {
  const latest = labels.slice(0, LABELS_MAX)
  const now = await alarmsIn(challenger, latest, options.series, options.alertThreshold)
  const before = champion === null ? latest.map(() => false) : await alarmsIn(champion, latest, options.series, options.alertThreshold)
  const count = (verdict: Feedback['verdict'], alarms: readonly boolean[]): number =>
    latest.filter((label, k) => label.verdict === verdict && alarms[k] === true).length
  const all = latest.map(() => true)
  const [confirmed, found, foundBefore] = [count('confirmed', all), count('confirmed', now), count('confirmed', before)]
  const [rejected, repeated, repeatedBefore] = [count('rejected', all), count('rejected', now), count('rejected', before)]
  const worth = (hits: number, wrong: number): number => (confirmed === 0 ? 0 : hits / confirmed) - (rejected === 0 ? 0 : wrong / rejected)
  return {
    ...{
      at: options.nowMs,
      against: champion?.manifest.version ?? null,
      confirmed,
      found,
      foundBefore,
      rejected,
      repeated,
      repeatedBefore,
    },
    better: worth(found, repeated) > worth(foundBefore, repeatedBefore),
  }
}
