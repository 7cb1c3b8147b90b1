import ipaddr from 'ipaddr.js'
import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

/** Settings of webhooks; `crossCheckWebhooksConfig` checks them against each other. */
export const WebhooksConfigSchema = Type.Object(
  {
    allowHttp: Type.Boolean({
      default: false,
      description: 'true lets endpoints use plain http; false wants https, so that payloads and signatures travel encrypted',
    }),
    allowPrivateTargets: Type.Boolean({
      default: false,
      description:
        'true lets endpoints lie in loopback, private, unique-local and carrier-grade-NAT networks; link-local and metadata addresses stay refused',
    }),
    allowedTargets: Type.Array(Type.String(), {
      default: [],
      maxItems: 100,
      description: 'networks in CIDR notation, up to 100, that endpoints may lie in although they are not public, for instance 10.1.0.0/16',
    }),
    publicUrl: Type.String({
      default: '',
      maxLength: 2_048,
      pattern: '^(https?://[^\\s?#]+)?$',
      description:
        'where receivers of notices find this platform, for instance https://fleet.example.org; empty: links in notices are paths',
    }),
    smtpHost: Type.String({ default: '', maxLength: 255, description: 'mail server for e-mail receivers; empty: there are none' }),
    smtpPort: Type.Integer({ minimum: 1, maximum: 65_535, default: 587, description: 'its port' }),
    smtpSecurity: Type.Union([Type.Literal('starttls'), Type.Literal('tls'), Type.Literal('none')], {
      default: 'starttls',
      description:
        'starttls: encrypted after the greeting or not at all; tls: from the first byte; none: in the clear, for a server on this machine',
    }),
    smtpUser: Type.String({ default: '', maxLength: 255, description: 'name for the mail server; empty: no login' }),
    smtpPassword: Type.String({ default: '', maxLength: 1_024, secret: true, description: 'its password' }),
    smtpFrom: Type.String({
      default: 'fleetpulse@localhost',
      pattern: '^[^\\s<>]+@[^\\s<>]+$',
      maxLength: 320,
      description: 'sender of e-mails',
    }),
    breakerFailures: Type.Integer({
      minimum: 0,
      maximum: 1_000,
      default: 10,
      description: 'tries to one endpoint that fail in a row, 1 to 1000, until it is left alone for breakerOpenMs; 0: never',
    }),
    breakerOpenMs: Type.Integer({
      minimum: 1_000,
      maximum: HOUR_MS,
      default: 60_000,
      description: 'ms, 1000 to an hour, for which such an endpoint gets nothing; then one try shows whether it works again',
    }),
    bodyBytesMax: Type.Integer({
      minimum: 4_096,
      maximum: 10_485_760,
      default: 262_144,
      description: 'bytes of one request, 4096 to 10 MiB; of a larger notice the explanation is left out',
    }),
    routingRefreshMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 2_000,
      description: 'ms, 100 to 600000: how often the routing, if another process changed it, is read',
    }),
    replayItemsMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 10_000,
      description: 'deliveries that one replay of all may take up again, 1 to a million',
    }),
    testsPerMinute: Type.Integer({
      minimum: 1,
      maximum: 600,
      default: 10,
      description: 'test messages to one endpoint in a minute, 1 to 600: the button is for people, not for pointing a load at somebody',
    }),
    attemptsMax: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 14,
      description:
        'tries of one delivery, 1 to 100, before it is parked; with the default waits the last comes after 28 to 35 hours: a receiver may be down for a day',
    }),
    disableAttemptsMax: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 5,
      description: 'tries, 1 to 100, to disable an endpoint that answered 410 while others change it; then its next 410 does',
    }),
    retryInitialMs: Type.Integer({
      minimum: 100,
      maximum: HOUR_MS,
      default: 5_000,
      description: 'ms, 100 to an hour: wait after the first failed try',
    }),
    retryFactor: Type.Number({ minimum: 1, maximum: 10, default: 3, description: 'each wait is the last one times this, 1 to 10' }),
    retryMaxMs: Type.Integer({
      minimum: 100,
      maximum: DAY_MS,
      default: 6 * HOUR_MS,
      description: 'ms, retryInitialMs to a day: longest wait between two tries, Retry-After included',
    }),
    retryJitter: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.2,
      description: 'part of each wait that is random, 0 to 1, so that retries do not come all at once',
    }),
    connectTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 5_000,
      description: 'ms, 100 to 60000: name lookup, TCP and TLS handshake together',
    }),
    headersTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 10_000,
      description: 'ms, 100 to 60000: from the request to the headers of the response',
    }),
    bodyTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 5_000,
      description: 'ms, 100 to 60000: between two pieces of the response body',
    }),
    totalTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 300_000,
      default: 20_000,
      description: 'ms, headersTimeoutMs to 300000: one try as a whole, its connection too',
    }),
    responseBytesMax: Type.Integer({
      minimum: 0,
      maximum: 10_485_760,
      default: 65_536,
      description: 'bytes of a response read, 0 to 10 MiB; the rest is cut off by closing the connection',
    }),
    responseBytesKept: Type.Integer({
      minimum: 0,
      maximum: 65_536,
      default: 1_024,
      description: 'bytes of a response kept in the delivery log, 0 to 65536',
    }),
    inFlightMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 512,
      description: 'requests at a time over all endpoints, 1 to 10000: bounds sockets and memory',
    }),
    inFlightPerEndpointMax: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 8,
      description: 'requests at a time to one endpoint, 1 to 100',
    }),
    failingInFlightMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 128,
      description:
        'requests at a time to endpoints whose last try failed, all of them together, fewer than inFlightMax: the rest is kept for those that work',
    }),
    pendingPerEndpointMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 10_000,
      description: 'deliveries that may wait for one endpoint, 1 to a million; further ones are parked at once and can be replayed',
    }),
    attemptsKeptMax: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 20,
      description: 'latest tries kept in the log of one delivery, 1 to 100',
    }),
    deliveriesKeptPerEndpointMax: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: 10_000,
      description: 'finished deliveries kept per endpoint; the oldest go first',
    }),
    retentionMs: Type.Integer({
      minimum: HOUR_MS,
      maximum: 3_650 * DAY_MS,
      default: 30 * DAY_MS,
      description: 'ms, an hour to ten years: finished deliveries are removed after so long',
    }),
    endpointsMax: Type.Integer({ minimum: 1, maximum: 100_000, default: 1_000, description: 'endpoints of one tenant, 1 to 100000' }),
    rescanIntervalMs: Type.Integer({
      minimum: 1_000,
      maximum: HOUR_MS,
      default: 30_000,
      description: 'ms, 1000 to an hour: how often all endpoints are looked at for deliveries that another process left behind',
    }),
    pageItemsMax: Type.Integer({ minimum: 1, maximum: 1_000, default: 200, description: 'items one page of a list may hold, 1 to 1000' }),
    batchRecordsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 200,
      description: 'changes of alerts taken from the log at a time, 1 to 10000',
    }),
    pollWaitMs: Type.Integer({
      minimum: 10,
      maximum: 60_000,
      default: 1_000,
      description: 'ms, 10 to 60000: longest wait of one poll of the log; new records end it earlier',
    }),
    writesInFlightMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 128,
      description: 'documents written at a time, 1 to 1000: enough to share one group commit',
    }),
    loopRetryInitialMs: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 100,
      description: 'ms, 1 to 60000: first wait when a store or the log fails; doubles each time',
    }),
    loopRetryMaxMs: Type.Integer({
      minimum: 1,
      maximum: 600_000,
      default: 10_000,
      description: 'ms, loopRetryInitialMs to 600000: longest such wait',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type WebhooksConfig = Static<typeof WebhooksConfigSchema>

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckWebhooksConfig(config: WebhooksConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const atLeast = (key: keyof WebhooksConfig, other: keyof WebhooksConfig): void => {
    if (Number(config[key]) >= Number(config[other])) return
    faults.push({
      key: `${section}.${key}`,
      problem: `${String(config[key])} is less than ${other}`,
      allowed: `at least ${String(config[other])}`,
    })
  }
  atLeast('retryMaxMs', 'retryInitialMs')
  atLeast('loopRetryMaxMs', 'loopRetryInitialMs')
  atLeast('totalTimeoutMs', 'headersTimeoutMs')
  atLeast('responseBytesMax', 'responseBytesKept')
  atLeast('inFlightMax', 'inFlightPerEndpointMax')
  if (config.failingInFlightMax >= config.inFlightMax && config.inFlightMax > 1) {
    const problem = `${config.failingInFlightMax} leaves nothing of inFlightMax to endpoints that work`
    faults.push({ key: `${section}.failingInFlightMax`, problem, allowed: `less than ${config.inFlightMax}` })
  }
  config.allowedTargets.forEach((network, i) => {
    if (ipaddr.isValidCIDR(network)) return
    faults.push({
      key: `${section}.allowedTargets.${i}`,
      problem: `${network} is not a network`,
      allowed: 'CIDR notation, for instance 10.1.0.0/16',
    })
  })
  return faults
}
