import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Server } from 'node:https'
import type { Counter } from 'prom-client'
import { authorise } from '../../contracts/authorisation.ts'
import { issuerOf, type DoorAnswer } from '../../contracts/credential.ts'
import type { RegistryView } from '../../contracts/registry-view.ts'
import type { ReadingOutcome, UplinkSink } from '../../contracts/uplink.ts'
import { AccessError, EnvironmentError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import { problem } from '../../kernel/problem.ts'
import type { Clock } from '../../kernel/time.ts'
import { TokenBuckets } from '../../kernel/token-buckets.ts'
import type { ClientCertificate } from './client-certificate.ts'
import { answerProblems, sendProblem, type Answer } from './problem-answers.ts'

/** Devices whose pace is remembered at once, about 100 bytes each. */
const PACED_DEVICES_MAX = 50_000

const PREFIX = '/ingest/v1'
const ROUTE = '/telemetry'
/** Where devices without MQTT send their readings, on the device listener. */
export const TELEMETRY_PATH = `${PREFIX}${ROUTE}`

const TOO_FAST = 'The device sends more requests than provisioning.telemetryRatePerS allows; put several readings into one.'

type DeviceRequest = FastifyRequest<Record<never, never>, Server>

export interface TelemetryRouteOptions {
  registryView: RegistryView
  uplinkSink: UplinkSink
  clock: Clock
  log: Logger
  metrics: Metrics
  telemetryBodyBytesMax: number
  telemetryRatePerS: number
  telemetryBurstMax: number
  clientOf: (request: DeviceRequest) => ClientCertificate
  /** Lets the holder of a factory certificate in; anybody else it leaves as they are. */
  admit: (request: DeviceRequest) => Promise<DoorAnswer<object>>
}

/**
 * `POST /ingest/v1/telemetry`: what a device would publish on `devices/{itself}/telemetry`, by HTTPS. The device is the one of the client
 * certificate; the body is a reading or an array of readings, application/json.
 *
 * | Status | Meaning |
 * |---|---|
 * | 202 | durable; `{"accepted":1,"rejected":1,"items":[{"status":"accepted"},{"status":"rejected","reason":"out-of-range","detail":"…"}]}`, in the order of the body |
 * | 400 | nothing in the body can be told apart as a reading: no JSON, no object, an empty or too long array |
 * | 401, 403 | no valid client certificate; a device that may not send |
 * | 413, 415 | the body is too large; it is not application/json, or is compressed |
 * | 422 | every reading was rejected: sending them again changes nothing; `items` as above |
 * | 429 | the device is above its rate; `Retry-After` |
 * | 503 | it could not be made durable; `Retry-After`, the device sends it again. With `seq` or `ts` what is sent twice is stored once |
 *
 * Answers other than 202 are problem details (RFC 9457). A caller that looks at nothing but the status learns from 422 that nothing was kept,
 * and from 202 that at least one reading was. What is rejected, by 202, 400 and 422 alike, is durably set aside with its reason before the answer, as
 * for MQTT.
 */
export function addTelemetryRoute(app: FastifyInstance<Server>, options: TelemetryRouteOptions): void {
  const door = new TelemetryDoor(options)
  void app.register(
    (scope: FastifyInstance<Server>, _none, done) => {
      const { log, telemetryBodyBytesMax } = options
      answerProblems(scope, { log, bodyBytesMax: telemetryBodyBytesMax, methods: { [TELEMETRY_PATH]: 'POST' } })
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body))
      // Before the body is read: who may not send may not make us read.
      const onRequest = (request: DeviceRequest): Promise<void> => door.admit(request)
      scope.post(ROUTE, { bodyLimit: telemetryBodyBytesMax, onRequest }, (request, reply) => door.take(request, reply))
      done()
    },
    { prefix: PREFIX },
  )
}

class TelemetryDoor {
  readonly #options: TelemetryRouteOptions
  readonly #pace: TokenBuckets
  readonly #devices = new WeakMap<DeviceRequest, { tenant: string; device: string }>()
  readonly #requests: Counter<'outcome'>

  constructor(options: TelemetryRouteOptions) {
    this.#options = options
    const { clock, telemetryRatePerS: ratePerS, telemetryBurstMax: burstMax } = options
    this.#pace = new TokenBuckets({ clock, ratePerS, burstMax, keysMax: PACED_DEVICES_MAX })
    this.#requests = options.metrics.counter('provisioning_telemetry_requests_total', 'HTTPS telemetry requests by what came of them.', [
      'outcome',
    ])
  }

  /** Who sends, may it, and how fast? */
  async admit(request: DeviceRequest): Promise<void> {
    try {
      const admission = await this.#options.admit(request)
      if (admission.status !== 'granted') throw new AccessError('FORBIDDEN', `The device is refused: ${admission.detail}.`)
      const device = this.#deviceOf(request)
      const retryAfterMs = this.#pace.take(`${device.tenant}/${device.device}`)
      if (retryAfterMs > 0) throw new LimitError(TOO_FAST, { details: { retryAfterMs } })
      const coding = request.headers['content-encoding']
      if (coding !== undefined && coding !== 'identity') {
        throw new InvalidInputError('The body must not be compressed.', { details: { status: 415 } }) // RFC 9110 §15.5.16
      }
      this.#devices.set(request, device)
    } catch (error) {
      this.#requests.inc({ outcome: error instanceof LimitError ? 'throttled' : 'refused' })
      throw error
    }
  }

  async take(request: DeviceRequest, reply: Answer): Promise<unknown> {
    const device = this.#devices.get(request)
    if (device === undefined) throw new AccessError('UNAUTHENTICATED', 'This needs the client certificate of a device.')
    const payload = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    const items = await this.#append({ ...device, payload, correlationId: request.id })
    const rejected = items.filter((item) => item.status === 'rejected')
    const whole = rejected.find((item) => item.of === 'payload')
    reply.header('x-correlation-id', request.id)
    if (whole !== undefined) {
      this.#requests.inc({ outcome: 'malformed' })
      const body = { ...problem(400, 'INVALID_INPUT', `The body cannot be read: ${whole.detail}.`), reason: whole.reason }
      return sendProblem(reply, body)
    }
    const answer = { accepted: items.length - rejected.length, rejected: rejected.length, items: items.map(itemOf) }
    if (answer.accepted === 0) {
      this.#requests.inc({ outcome: 'rejected' })
      const detail = `Nothing was accepted: ${rejected[0]?.detail ?? ''}${rejected.length > 1 ? `, and ${rejected.length - 1} more; see items` : ''}.`
      return sendProblem(reply, { ...problem(422, 'INVALID_INPUT', detail), ...answer })
    }
    this.#requests.inc({ outcome: 'accepted' })
    reply.code(202)
    return answer
  }

  #deviceOf(request: DeviceRequest): { tenant: string; device: string } {
    const client = this.#options.clientOf(request)
    if (client.status !== 'verified') {
      throw new AccessError(
        'UNAUTHENTICATED',
        client.status === 'refused' ? client.reason : 'This needs the client certificate of a device.',
      )
    }
    const { tenant, device, serial } = client.credential
    const admission = this.#options.registryView.admit(tenant, device, serial, issuerOf(client.credential))
    if (admission.status === 'refused') throw new AccessError('FORBIDDEN', `The device is refused: ${admission.reason}.`)
    const principal = { kind: 'device', id: device, tenant, roles: ['device'] } as const
    if (!authorise(principal, 'publish', { tenant, kind: 'topic', id: `devices/${device}/telemetry` })) {
      throw new AccessError('FORBIDDEN', 'The device may not publish telemetry.')
    }
    return { tenant, device }
  }

  /** What became of each reading, once all of it is durable. */
  #append(uplink: { tenant: string; device: string; payload: Buffer; correlationId: string }): Promise<ReadingOutcome[]> {
    const { clock, uplinkSink } = this.#options
    const outcomes: ReadingOutcome[] = []
    return new Promise((resolve, reject) => {
      const done = (error?: Error): void => {
        if (error === undefined) return resolve(outcomes)
        this.#requests.inc({ outcome: 'failed' })
        reject(new EnvironmentError('UPLINK_FAILED', 'a request could not be made durable', { cause: error, retryable: true }))
      }
      uplinkSink.accept({ ...uplink, path: 'telemetry', receivedAt: clock.nowMs() }, done, (outcome) => outcomes.push(outcome))
    })
  }
}

function itemOf(outcome: ReadingOutcome): { status: 'accepted' } | { status: 'rejected'; reason: string; detail: string } {
  if (outcome.status === 'accepted') return { status: 'accepted' }
  const { status, reason, detail } = outcome
  return { status, reason, detail }
}
