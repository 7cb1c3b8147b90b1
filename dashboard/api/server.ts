import helmet from '@fastify/helmet'
import fastifyStatic from '@fastify/static'
import swagger from '@fastify/swagger'
import { fastify, type FastifyBaseLogger, type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { AddressInfo } from 'node:net'
import { actorOf, type Action } from '../../contracts/authorisation.ts'
import { AccessError, describeError, EnvironmentError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Service } from '../../kernel/service.ts'
import { openApiDocument } from './openapi.ts'
import { API_PREFIX, type Api, type ApiServices, type RouteContext } from './context.ts'
import { idempotency } from './idempotency.ts'
import { LiveHub } from './live-hub.ts'
import { RouteMethods } from './methods.ts'
import { rightOf } from './access/route-rights.ts'
import { Principals, requireRight } from './principals.ts'
import { RefusalLog } from './refusal-log.ts'
import { CHANGES_NOTHING, RequestAudit } from './request-audit.ts'
import { problemHandler, ProblemSchema, sendProblem } from './problem.ts'
import { lazySerializers, validatorCompiler } from './validation.ts'
import { memoryRoutes } from './routes/agent-memory.ts'
import { agentRoutes } from './routes/agents.ts'
import { alertRoutes } from './routes/alerts.ts'
import { anomalyRoutes } from './routes/anomalies.ts'
import { apiKeyRoutes } from './routes/api-keys.ts'
import { authRoutes } from './routes/auth.ts'
import { authorityRoutes } from './routes/authorities.ts'
import { auditRoutes } from './routes/audit.ts'
import { certificateForecastRoutes } from './routes/certificate-forecast.ts'
import { certificateRoutes } from './routes/certificates.ts'
import { conversationRoutes } from './routes/conversations.ts'
import { conversationSocketRoute } from './routes/conversation-socket.ts'
import { digestRoutes } from './routes/digests.ts'
import { proactiveRoutes } from './routes/proactive.ts'
import { crlImportRoutes } from './routes/crl-imports.ts'
import { detectorRoutes } from './routes/detectors.ts'
import { deviceCertificateRoutes } from './routes/device-certificates.ts'
import { claimRoutes } from './routes/claims.ts'
import { deviceTypeRoutes } from './routes/device-types.ts'
import { decommissionRoutes } from './routes/decommission.ts'
import { deviceLifeRoutes } from './routes/device-life.ts'
import { deviceImportRoutes } from './routes/device-import.ts'
import { deviceRoutes } from './routes/devices.ts'
import { enrolmentTokenRoutes } from './routes/enrolment-tokens.ts'
import { eventRoutes } from './routes/events.ts'
import { externalAlertRoutes } from './routes/external-alerts.ts'
import { factoryAuthorityRoutes } from './routes/factory-authorities.ts'
import { feedbackRoutes } from './routes/feedback.ts'
import { findingRoutes } from './routes/findings.ts'
import { incidentRoutes } from './routes/incidents.ts'
import { ledgerRoutes } from './routes/ledger.ts'
import { liveRoutes } from './routes/live.ts'
import { maintenanceRoutes } from './routes/maintenance.ts'
import { modelRoutes } from './routes/models.ts'
import { operationRoutes } from './routes/operations.ts'
import { proposalRoutes } from './routes/proposals.ts'
import { readingRoutes } from './routes/readings.ts'
import { rejectedRoutes } from './routes/rejected.ts'
import { ruleRoutes } from './routes/rules.ts'
import { policyRoutes } from './routes/policies.ts'
import { routingRoutes } from './routes/routing.ts'
import { sessionRoutes } from './routes/session.ts'
import { traceRoutes } from './routes/traces.ts'
import { webhookRoutes } from './routes/webhooks.ts'
import { windowRoutes } from './routes/windows.ts'
import { ConversationSockets } from './sockets/conversation-sockets.ts'
import { WebSocketDoor } from './sockets/web-socket-door.ts'

/** Node reads no longer request heads than this (`--max-http-header-size`), and so no longer parameters. */
const REQUEST_HEAD_BYTES_MAX = 16_384

/** How long a stop waits for requests under way, in ms: well within what a service may take to stop. */
const DRAIN_MS = 1_500

/** The operator API, the live stream, plain operations and the page, on one port. */
export class ApiServer implements Service {
  readonly name = 'api'
  readonly #services: ApiServices
  #server: FastifyInstance | undefined
  #live: LiveHub | undefined
  #origin = ''

  constructor(services: ApiServices) {
    this.#services = services
  }

  /** `http://HOST:PORT` once started. */
  get origin(): string {
    return this.#origin
  }

  async start(): Promise<void> {
    if (this.#server !== undefined) return
    const { config } = this.#services
    this.#live = new LiveHub(this.#services)
    this.#server = await buildServer(this.#services, this.#live)
    try {
      await this.#server.listen({ host: config.host, port: config.port })
    } catch (error) {
      await this.stop()
      throw listenError(error, config.host, config.port)
    }
    const { port } = this.#server.server.address() as AddressInfo
    const host = config.host.includes(':') ? `[${config.host}]` : config.host
    this.#origin = `http://${host === '0.0.0.0' || host === '[::]' ? 'localhost' : host}:${port}`
  }

  /** Ends the live streams, lets requests under way finish for a while, then cuts what is left. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await this.#live?.stop()
    if (server === undefined) return
    const cut = this.#services.clock.after(DRAIN_MS, () => server.server.closeAllConnections())
    await server.close()
    cut.cancel()
  }
}

/** Builds the server without listening: tests inject requests. */
export async function buildServer(services: ApiServices, live: LiveHub): Promise<FastifyInstance> {
  const { config, log } = services
  const loggerInstance: FastifyBaseLogger = log.child({ part: 'api' }, { level: 'warn' })
  const handleProblem = problemHandler(log)
  const server: FastifyInstance = fastify({
    loggerInstance,
    schemaController: { compilersFactory: { buildSerializer: lazySerializers() } },
    bodyLimit: config.bodyBytesMax,
    requestTimeout: config.requestTimeoutMs,
    // Schemas bound the length of parameters and answer 400; the router's own answer would be another kind of error.
    routerOptions: { maxParamLength: REQUEST_HEAD_BYTES_MAX },
    exposeHeadRoutes: true,
    genReqId: ({ headers }) => correlationIdOf(headers['x-correlation-id']) ?? newId(services.clock.nowMs()),
    // What the router itself refuses, a broken escape in the path for instance.
    frameworkErrors: (error, request, reply) => void handleProblem(error, request, reply),
  })
  const routeMethods = new RouteMethods(server)
  server.setValidatorCompiler(validatorCompiler())
  server.setErrorHandler(handleProblem)
  server.addSchema(ProblemSchema)
  await server.register(helmet, {
    contentSecurityPolicy: { directives: { defaultSrc: ["'self'"], styleSrc: ["'self'", "'unsafe-inline'"], imgSrc: ["'self'", 'data:'], connectSrc: ["'self'"], frameAncestors: ["'none'"], upgradeInsecureRequests: null } },
    strictTransportSecurity: false,
  })
  await server.register(swagger, openApiDocument())
  await services.auditTrail.settle()
  const principals = new Principals(services)
  const { auditConfig, clock } = services
  const refusals = new RefusalLog({ trail: services.auditTrail, clock, log, windowMs: auditConfig.refusalWindowMs, kindsMax: auditConfig.refusalKindsMax })
  const audit = new RequestAudit(services.auditTrail, refusals)
  server.addHook('onClose', () => audit.stop())
  const context: RouteContext = {
    ...services,
    live,
    allow: (request, action, kind, id) => {
      const principal = audit.callerOf(request)
      requireRight(principal, action, kind, id)
      return { ...principal, actor: actorOf(principal) }
    },
    isStillAllowed: (request, action, kind, id) => isStillAllowed(principals, request, { action, kind, ...(id === undefined ? {} : { id }) }),
    tell: (request, details) => audit.tell(request, details),
    pageSize: (limit, itemsMax = config.pageItemsMax) => Math.min(limit ?? config.pageItemsDefault, config.pageItemsMax, itemsMax),
  }
  const sockets = new ConversationSockets(services)
  const door = new WebSocketDoor()
  door.attach(server)
  // Before the server waits for its connections to end.
  server.addHook('preClose', () => sockets.stop())
  const parts = { context, principals, audit, sockets, door }
  await server.register((scope) => apiRoutes(scope.withTypeProvider<TypeBoxTypeProvider>() as Api, parts), { prefix: API_PREFIX })
  operationRoutes(server, services.operations)
  // RFC 7517 §5: whoever holds a receipt or a checkpoint verifies it with these, and needs no token for that.
  server.get('/.well-known/jwks.json', { schema: { hide: true } }, async (_request, reply) =>
    reply.type('application/jwk-set+json').send({ keys: await services.auditTrail.publicKeys() }),
  )
  server.get('/openapi.json', { schema: { hide: true } }, () => server.swagger())
  await server.register(fastifyStatic, { root: services.webRoot, wildcard: false, cacheControl: false })
  // Before the body is read: an undeclared method is wrong whatever comes with it.
  server.addHook('onRequest', async (request, reply) => {
    const allowed = request.is404 ? routeMethods.allowed(request.url) : []
    if (allowed.length > 0) return sendProblem(reply.header('allow', allowed.join(', ')), 405, 'METHOD_NOT_ALLOWED', `${request.method} is not allowed here; allowed: ${allowed.join(', ')}.`)
  })
  server.setNotFoundHandler((request, reply) => {
    if (request.url.startsWith('/api/') || request.method !== 'GET') return sendProblem(reply, 404, 'NOT_FOUND', `There is nothing at ${request.url.slice(0, 200)}.`)
    return reply.sendFile('index.html')
  })
  await server.ready()
  return server
}

interface ApiParts {
  context: RouteContext
  principals: Principals
  audit: RequestAudit
  sockets: ConversationSockets
  door: WebSocketDoor
}

async function apiRoutes(api: Api, { context, principals, audit, sockets, door }: ApiParts): Promise<void> {
  const handleProblem = problemHandler(context.log)
  api.setErrorHandler((error: FastifyError, request, reply) => {
    if (error instanceof NotFoundError && error.details.denied === true) audit.hide(request)
    return handleProblem(error, request, reply)
  })
  // Before the body is read and any document touched: who is not known, or may not do this at all, makes us do nothing. What more a route asks, it asks itself.
  api.addHook('onRequest', async (request) => {
    const { schema, url = API_PREFIX } = request.routeOptions
    const { security, [CHANGES_NOTHING]: changesNothing } = (schema ?? {}) as { security?: unknown[]; [CHANGES_NOTHING]?: boolean }
    if (security?.length === 0) return
    const principal = await principals.authenticate(request)
    audit.know(request, principal)
    const { action, kind } = rightOf(request.method, url.slice(API_PREFIX.length), changesNothing === true)
    requireRight(principal, action, kind)
  })
  audit.settleWith(api)
  await idempotency(api, context)
  audit.enterWith(api)
  sessionRoutes(api, context, principals)
  authRoutes(api, context, principals)
  apiKeyRoutes(api, context, principals)
  deviceRoutes(api, context)
  deviceLifeRoutes(api, context)
  deviceImportRoutes(api, context)
  deviceCertificateRoutes(api, context)
  decommissionRoutes(api, context)
  deviceTypeRoutes(api, context)
  readingRoutes(api, context)
  rejectedRoutes(api, context)
  windowRoutes(api, context)
  ledgerRoutes(api, context)
  anomalyRoutes(api, context)
  modelRoutes(api, context)
  feedbackRoutes(api, context)
  detectorRoutes(api, context)
  alertRoutes(api, context)
  externalAlertRoutes(api, context)
  incidentRoutes(api, context)
  digestRoutes(api, context)
  traceRoutes(api, context)
  conversationRoutes(api, context)
  conversationSocketRoute(api, context, sockets, door)
  agentRoutes(api, context, principals)
  proactiveRoutes(api, context)
  memoryRoutes(api, context)
  proposalRoutes(api, context)
  eventRoutes(api, context)
  maintenanceRoutes(api, context)
  ruleRoutes(api, context)
  auditRoutes(api, context)
  claimRoutes(api, context)
  factoryAuthorityRoutes(api, context)
  findingRoutes(api, context)
  routingRoutes(api, context)
  policyRoutes(api, context)
  webhookRoutes(api, context)
  authorityRoutes(api, context)
  certificateRoutes(api, context)
  crlImportRoutes(api, context)
  certificateForecastRoutes(api, context)
  enrolmentTokenRoutes(api, context)
  liveRoutes(api, context)
}

/** A session that was closed or has run out, or a right that was taken away. */
async function isStillAllowed(principals: Principals, request: FastifyRequest, { action, kind, id }: { action: Action; kind: string; id?: string }): Promise<boolean> {
  try {
    requireRight(await principals.authenticate(request), action, kind, id)
    return true
  } catch (error) {
    if (error instanceof AccessError || error instanceof LimitError) return false
    throw error
  }
}

/** A caller's own id for what belongs together, where it is fit for logs. */
function correlationIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(header) ? header : undefined
}

function listenError(error: unknown, host: string, port: number): EnvironmentError {
  const code = (error as NodeJS.ErrnoException).code
  const why = code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be opened: ${describeError(error)}`
  return new EnvironmentError(code === 'EADDRINUSE' ? 'PORT_IN_USE' : 'LISTEN_FAILED', `the API's address ${host}:${port} ${why}`, { cause: error, remedy: 'Stop that program, or choose another port with FLEETPULSE_API_PORT (0 takes any free one).' })
}
