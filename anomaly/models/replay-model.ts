import type { Anomaly } from '../../contracts/anomaly.ts'
import type { PastReading, Replayed } from '../replayed.ts'
import { BACKENDS, type BackendName } from './backend.ts'
import { newWindow, takeReading, type DeviceWindow } from './device-window.ts'
import type { Scorer } from './scorer.ts'

/** A version of a model ready to score, or why it is not there. */
export type KeptModel = { status: 'kept'; scorer: Scorer } | { status: 'gone'; why: string }

/** What calculated the score; undefined where it is not written down. */
export function backendOf({ explanation }: Anomaly): BackendName | undefined {
  return BACKENDS.find((name) => name === explanation.parameters.backend)
}

/** Is it the end of what a model had raised that no longer served? No score was calculated for it. */
export function endedWithItsModel({ phase, score }: Anomaly): boolean {
  return phase === 'cleared' && score === 0
}

/** Has the model judge the window anew that the stored readings make. `readings`: in the order in which they came. */
export function replayModel(anomaly: Anomaly, readings: readonly PastReading[], model: KeptModel): Replayed {
  if (model.status === 'gone') return { status: 'changed', score: null, readings: 0, why: [model.why] }
  const { manifest } = model.scorer
  const window = newWindow(manifest)
  const at = readings.findIndex((reading) => takeReading(window, manifest, reading) && reading.ts === anomaly.ts)
  if (at === -1) {
    const isThere = readings.some(({ ts }) => ts === anomaly.ts)
    const rows = `the ${manifest.shape.rows} rows that the model judges together are no longer all stored`
    return { status: 'changed', score: null, readings: 0, why: [isThere ? rows : 'the reading itself is no longer stored'] }
  }
  const score = model.scorer.scores(window.figures, 1)[0] ?? Number.NaN
  if (score === anomaly.score) return { status: 'same', score, readings: at }
  return { status: 'changed', score, readings: at, why: differences(anomaly, window, model.scorer) }
}

function differences(anomaly: Anomaly, window: DeviceWindow, { manifest, backend }: Scorer): string[] {
  const { parameters } = anomaly.explanation
  const why: string[] = []
  for (const [name, is] of [
    ['modelSha256', manifest.sha256],
    ['threshold', manifest.threshold],
    ['backend', backend],
  ] as const) {
    const was = parameters[name]
    if (was !== undefined && was !== is)
      why.push(`${name === 'backend' ? 'the backend that calculates' : `${name} of the model`} was ${String(was)} and is ${is}`)
  }
  const then = String(parameters.window ?? '')
    .split(',')
    .map(Number)
  const others = manifest.metrics.filter((_, k) =>
    window.figures.some((figure, place) => place % manifest.shape.metrics === k && figure !== Math.fround(then[place] ?? Number.NaN)),
  )
  if (parameters.window !== undefined && others.length > 0)
    why.push(`the stored readings make another window than then, in ${others.map(({ name }) => name).join(', ')}`)
  if (why.length > 0) return why
  if (parameters.window === undefined) return ['the stored readings are others than those that it was cleared by, or came in another order']
  if (parameters.backend === undefined)
    return [`the same model judges the same window, and backend ${backend} calculates: which one did so then is not written down`]
  return [`the same model judges the same window on the same backend, ${backend}: another release of it, or another processor, did so then`]
}
