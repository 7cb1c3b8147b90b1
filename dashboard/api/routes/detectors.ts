import { Type } from 'typebox'
import { AnomalyConfigSchema } from '../../../anomaly/config.ts'
import { detectorVersions } from '../../../anomaly/detectors-by-version.ts'
import { readSummary } from '../../../anomaly/peers/peer-summary.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

const tags = ['detectors']
const AnswerSchema = Type.Object({
  detectors: Type.Array(Type.Object({ name: Type.String(), version: Type.Integer(), warmUpReadings: Type.Integer() })),
  settings: Type.Object(AnomalyConfigSchema.properties, { description: 'thresholds, policies and everything else in section anomaly' }),
})
const LearningSchema = Type.Object({
  device: Type.String(),
  readings: Type.Integer({ description: 'stored of the device so far' }),
  warmUpReadings: Type.Integer({ description: 'readings of a metric before it can raise an anomaly' }),
  learning: Type.Boolean(),
  text: Type.String({ description: '`learning, 112 of 150 readings`, or `learnt`' }),
})

const FiguresSchema = Type.Object({
  peers: Type.Integer({ description: 'devices' }),
  median: Type.Number(),
  deviation: Type.Number(),
  values: Type.Array(Type.Number()),
})
const SummarySchema = Type.Object({
  number: Type.Integer(),
  type: Type.String(),
  slotTs: Type.Integer({ description: 'begin of the slot, epoch ms of event time' }),
  at: Type.Integer(),
  metrics: Type.Array(
    Type.Object({
      metric: Type.String(),
      level: FiguresSchema,
      liveliness: Type.Union([FiguresSchema, Type.Null()]),
      typical: Type.Array(Type.String()),
    }),
  ),
})

/** Which detectors judge, by which settings, and whether a device is known well enough to be judged. */
export function detectorRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/detectors',
    { schema: { summary: 'Detectors, their versions and their settings', tags, response: { 200: AnswerSchema, ...problemResponses() } } },
    (request) => {
      context.allow(request, 'read', 'anomalies')
      return { detectors: detectorVersions(), settings: context.anomalyConfig }
    },
  )
  api.get(
    '/detectors/peers/:number',
    {
      schema: {
        summary: 'What the devices of a type were like in one slot: with which a device was compared, as its anomaly names it',
        tags,
        params: Type.Object({ number: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }) }),
        response: { 200: SummarySchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'anomalies', String(request.params.number))
      return readSummary(context.documents, tenant, request.params.number)
    },
  )
  api.get(
    '/devices/:id/learning',
    {
      schema: {
        summary: 'Cold start: how many readings of a device are known, and how many it takes',
        tags,
        params: Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) }),
        response: { 200: LearningSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'devices', request.params.id)
      const { id: device } = await context.registry.getDevice(tenant, request.params.id)
      const readings = await context.series.count(tenant, device)
      const warmUpReadings = Math.max(...detectorVersions().map((detector) => detector.warmUpReadings))
      const learning = readings < warmUpReadings
      return {
        device,
        readings,
        warmUpReadings,
        learning,
        text: learning ? `learning, ${readings} of ${warmUpReadings} readings` : 'learnt',
      }
    },
  )
}
