import 'reflect-metadata'
import { KeyObject, webcrypto } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as x509 from '@peculiar/x509'
import { ALERT, type Alert, type AlertChange } from '../../contracts/alert.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock, type Clock } from '../../kernel/time.ts'
import type { LogMessage } from '../../storage/event-log/event-log.ts'
import { openEngines, operator, T0, until, type Engines } from '../alerts-testing.ts'
import { WebhooksConfigSchema, type WebhooksConfig } from './config.ts'
import type { DeliveryDocument } from './webhook-documents.ts'
import type { EndpointView } from './webhook-views.ts'
import { Webhooks, type WebhooksOptions } from './webhooks.ts'

const checkConfig = compileSchema(WebhooksConfigSchema)

/** The default settings with some changed. */
export function webhooksConfig(changes: Partial<WebhooksConfig> = {}): WebhooksConfig {
  const result = checkConfig({ ...changes })
  if (result.status === 'invalid') throw new TypeError(JSON.stringify(result.faults))
  return result.value
}

/** Settings under which receivers on loopback can be reached over http. */
export function webhooksOptions(engines: Engines, changes: Partial<WebhooksConfig> = {}, clock: Clock = systemClock): WebhooksOptions {
  const config = webhooksConfig({
    allowHttp: true,
    allowPrivateTargets: true,
    pollWaitMs: 100,
    loopRetryInitialMs: 1,
    loopRetryMaxMs: 5,
    ...changes,
  })
  return { ...engines, clock, random: seededRandom(1), log: silentLogger, metrics: new Metrics(), config }
}

let serial = 0
export function change(changes: Partial<AlertChange> = {}, alert: Partial<Alert> = {}): AlertChange {
  const id = `01alert${serial++}`
  return {
    id: `${alert.id ?? id}-1`,
    sequence: 1,
    change: 'opened',
    alert: {
      ...{ id, tenant: 'default', fingerprint: 'default/pump-1/temperature/value', device: 'pump-1', type: 'pump', metric: 'temperature' },
      ...{ cause: 'value', state: 'open', severity: 'warning', title: 'temperature of pump-1 is unusual' },
      ...{ startedAt: T0, openedAt: T0, updatedAt: T0, resolvedAt: null, silencedUntil: null, anomalyCount: 1, maxScore: 0.9 },
      ...{
        firstAnomalyId: 'a',
        lastAnomalyId: 'a',
        explanation: { text: 'too warm' },
        evidence: { readings: [], window: null, versions: { detector: 'robust', detectorVersion: 1 } },
        rule: null,
        correlationId: 'c-1',
        history: [],
        historyDropped: 0,
      },
      ...{
        labels: {},
        snoozedUntil: null,
        suppressedBy: null,
        quiet: null,
        incident: null,
        assignee: null,
        flapping: false,
        escalation: 0,
        announced: true,
      },
      ...alert,
    },
    ...changes,
  }
}

export function changeMessage(value: AlertChange): LogMessage {
  return { key: 'default/pump-1', schema: ALERT, value: Buffer.from(JSON.stringify(value)) }
}

export interface Received {
  headers: Record<string, string>
  body: string
  path: string
}

type Answer = (response: ServerResponse, request: Received) => void

/** A receiver on loopback that keeps what it got and answers as told. */
export class Receiver {
  readonly received: Received[] = []
  answer: Answer
  readonly #server: Server

  private constructor(server: Server, answer: Answer) {
    this.#server = server
    this.answer = answer
  }

  static async open(answer: Answer = (response) => response.writeHead(204).end()): Promise<Receiver> {
    const server = createServer()
    const receiver = new Receiver(server, answer)
    server.on('request', (request: IncomingMessage, response: ServerResponse) => receiver.#take(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return receiver
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      const headers = request.headers as Record<string, string>
      const received = { headers, body: Buffer.concat(pieces).toString('utf8'), path: request.url ?? '' }
      this.received.push(received)
      this.answer(response, received)
    })
  }
}

/** Engines, webhooks and receivers of one test, and their end. */
export class WebhookWorld {
  readonly engines: Engines
  readonly #running: Webhooks[] = []
  readonly #receivers: Receiver[] = []

  private constructor(engines: Engines) {
    this.engines = engines
  }

  static async open(): Promise<WebhookWorld> {
    return new WebhookWorld(await openEngines(1))
  }

  async close(): Promise<void> {
    for (const each of this.#running) await each.stop()
    for (const each of this.#receivers) await each.close()
    await this.engines.dispose()
  }

  async start(options: WebhooksOptions = webhooksOptions(this.engines)): Promise<Webhooks> {
    const webhooks = new Webhooks(options)
    this.#running.push(webhooks)
    await webhooks.start()
    return webhooks
  }

  async receive(answer?: Answer): Promise<Receiver> {
    const receiver = await Receiver.open(answer)
    this.#receivers.push(receiver)
    return receiver
  }

  /** Appends changes of alerts, one unless told otherwise. */
  async happen(...changes: AlertChange[]): Promise<void> {
    await this.engines.eventLog.append('alerts', (changes.length === 0 ? [change()] : changes).map(changeMessage))
  }
}

/** Registers an endpoint of all default events, or of those named. */
export async function register(webhooks: Webhooks, url: string, events?: string[]): Promise<{ endpoint: EndpointView; secret: string }> {
  const { endpoint, secret } = await webhooks.service.create(operator, events === undefined ? { url } : { url, events })
  return { endpoint, secret: secret.reveal() }
}

/** The newest delivery of an endpoint in that state, once there is one. */
export function deliveryIn(webhooks: Webhooks, endpointId: string, state: DeliveryDocument['state']): Promise<DeliveryDocument> {
  return until(`a delivery is ${state}`, async () => (await webhooks.service.listDeliveries(operator, endpointId, { state })).items[0])
}

/** A key and a certificate that only it vouches for, PEM. */
export async function selfSigned(): Promise<{ key: string; cert: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const nowMs = systemClock.nowMs()
  const [notBefore, notAfter] = [new Date(nowMs - 60_000), new Date(nowMs + 3_600_000)]
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=127.0.0.1',
    notBefore,
    notAfter,
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
  })
  return { key: KeyObject.from(keys.privateKey).export({ format: 'pem', type: 'pkcs8' }) as string, cert: certificate.toString('pem') }
}
