import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { Static, TSchema } from 'typebox'
import { Agents } from '../../../agents/agents.ts'
import { MemoryConfigSchema } from '../../../agents/memory/config.ts'
import { Memories } from '../../../agents/memory/memories.ts'
import { ProactiveConfigSchema } from '../../../agents/proactive/config.ts'
import { AgentsConfigSchema } from '../../../agents/config.ts'
import { BUS_TOPICS } from '../../../agents/bus/event-types.ts'
import { EvidenceConfigSchema } from '../../../agents/evidence/config.ts'
import { ProposalsConfigSchema } from '../../../agents/proposals/config.ts'
import { Proposals } from '../../../agents/proposals/proposals.ts'
import { CountingActions } from '../../../agents/proposals/testing/counting-actions.ts'
import { IncidentTeam } from '../../../agents/team/incident-team.ts'
import { ExternalAlerts } from '../../../alerts/external/external-alerts.ts'
import { Alerts } from '../../../alerts/alerts.ts'
import { AlertsConfigSchema } from '../../../alerts/config.ts'
import { WebhooksConfigSchema } from '../../../alerts/webhooks/config.ts'
import { Webhooks } from '../../../alerts/webhooks/webhooks.ts'
import { ModelDesk } from '../../../anomaly/models/model-desk.ts'
import { ModelsConfigSchema } from '../../../anomaly/models/config.ts'
import { AnomalyArchive } from '../../../anomaly/anomaly-archive.ts'
import { AnomalyConfigSchema } from '../../../anomaly/config.ts'
import { PolicyDesk } from '../../../anomaly/policies/policy-desk.ts'
import { FeedbackService } from '../../../anomaly/feedback/feedback-service.ts'
import { TOPICS } from '../../../contracts/topics.ts'
import { auditConfig, type AuditConfig } from '../../../device-registry/audit/config.ts'
import { Trail } from '../../../device-registry/audit/trail.ts'
import { DeviceImport } from '../../../device-registry/import/device-import.ts'
import { Decommission } from '../../../device-registry/decommission/decommission.ts'
import { Registry } from '../../../device-registry/registry.ts'
import { silentLogger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { seededRandom } from '../../../kernel/random.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { Secret } from '../../../kernel/secret.ts'
import type { Service } from '../../../kernel/service.ts'
import { systemClock } from '../../../kernel/time.ts'
import { RulesConfigSchema } from '../../../processing/rules/config.ts'
import { RulePreview } from '../../../processing/rules/rule-preview.ts'
import { Rules } from '../../../processing/rules/rules.ts'
import { WindowsConfigSchema } from '../../../processing/windows/config.ts'
import { AuthorityDesk } from '../../../provisioning/ca/authority-desk.ts'
import { AuthorityOrders } from '../../../provisioning/ca/authority-orders.ts'
import { CertificateAuthority } from '../../../provisioning/ca/authority.ts'
import { SigningDesk } from '../../../provisioning/ca/signing-desk.ts'
import { Certificates } from '../../../provisioning/certificates.ts'
import { ProvisioningConfigSchema } from '../../../provisioning/config.ts'
import { CrlImport, type CrlAuthorities } from '../../../provisioning/revocation/crl-import.ts'
import { Doors } from '../../../provisioning/doors/doors.ts'
import { LocalOperatorDoor } from '../../../provisioning/doors/operator-door.ts'
import { Claims, signerOf } from '../../../provisioning/doors/claims.ts'
import { EnrolmentConfigSchema } from '../../../provisioning/doors/config.ts'
import { FactoryAuthorities } from '../../../provisioning/trust/factory-authorities.ts'
import { PostureConfigSchema } from '../../../provisioning/posture/config.ts'
import { Posture } from '../../../provisioning/posture/posture.ts'
import { EnrolmentTokens } from '../../../provisioning/doors/enrolment-tokens.ts'
import { RotationConfigSchema } from '../../../provisioning/rotation/config.ts'
import { ExpiryForecast } from '../../../provisioning/rotation/expiry-forecast.ts'
import { DocumentsConfigSchema } from '../../../storage/documents/config.ts'
import { LmdbDocuments } from '../../../storage/documents/lmdb-documents.ts'
import { openTemporaryLog } from '../../../storage/event-log/temporary-log.ts'
import { openStore } from '../../../storage/series/testing/store.ts'
import { ApiConfigSchema, type ApiConfig } from '../config.ts'
import type { ApiServices, Operations } from '../context.ts'
import { LiveHub } from '../live-hub.ts'
import { buildServer } from '../server.ts'

export const TOKEN = 'a-token-of-the-tests-that-is-long-enough'

export function defaultsOf<S extends TSchema>(schema: S, changes: Partial<Static<S>> = {}): Static<S> {
  const checked = compileSchema(schema)({ ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

/** The API over everything it stands on: real stores in a temporary folder, real stations. */
export class ApiFixture {
  readonly services: ApiServices
  readonly server: FastifyInstance
  readonly live: LiveHub
  readonly authority: CertificateAuthority
  readonly operations: { failing: Record<string, string> }
  readonly #close: () => Promise<void>

  private constructor(parts: Pick<ApiFixture, 'services' | 'server' | 'live' | 'authority' | 'operations'>, close: () => Promise<void>) {
    this.services = parts.services
    this.server = parts.server
    this.live = parts.live
    this.authority = parts.authority
    this.operations = parts.operations
    this.#close = close
  }

  /** `page`: folder of the built page; absent: an empty one. */
  static async open(changes: Partial<ApiConfig> = {}, auditChanges: Partial<AuditConfig> = {}, page?: string): Promise<ApiFixture> {
    const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-api-'))
    const webRoot = page ?? (await emptyPage(folder))
    const common = { clock: systemClock, log: silentLogger, metrics: new Metrics(), random: seededRandom(1) }
    const documents = new LmdbDocuments({ ...common, directory: join(folder, 'documents'), config: defaultsOf(DocumentsConfigSchema) })
    await documents.start()
    const opened = await openTemporaryLog({ directory: join(folder, 'log') })
    const eventLog = opened.log
    const topics = [...Object.values(TOPICS), ...['anomalies', 'alerts', ...BUS_TOPICS].map((topic) => `${topic}.dlq`)]
    await eventLog.ensureTopics(topics.map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })))
    const series = await openStore(join(folder, 'series'))
    const stores = { ...common, documents, eventLog }
    const provisioning = defaultsOf(ProvisioningConfigSchema, { crossOverDelayMs: 0, signingPollMs: 10 })
    const auditTrail = new Trail(stores)
    const registry = new Registry({ ...stores, auditTrail })
    const decommission = new Decommission({ ...stores, registry })
    const authority = new CertificateAuthority({ ...common, dataDir: folder, config: provisioning, pkiUrl: () => 'http://localhost' })
    const certificates = new Certificates({ ...stores, auditTrail })
    const signingDesk = new SigningDesk({ ...stores, authority, config: provisioning })
    const authorityDesk = new AuthorityDesk({ ...stores, authority, certificates, config: provisioning })
    const authorityOrders = new AuthorityOrders({ ...stores, config: provisioning })
    const enrolmentTokens = new EnrolmentTokens({ ...stores, registrar: registry, config: provisioning })
    const expiryForecast = new ExpiryForecast({ ...stores, config: defaultsOf(RotationConfigSchema) })
    const settings = { config: provisioning, enrolmentConfig: defaultsOf(EnrolmentConfigSchema) }
    const hasType = (tenant: string, type: string): Promise<boolean> => registry.hasType(tenant, type)
    const claims = new Claims({ ...stores, ...settings, certificates, hasType, sign: signerOf(authority) })
    const factoryAuthorities = new FactoryAuthorities({ ...stores, ...settings, certificates, hasType })
    const by = { authority, certificates, enrolmentTokens, factoryAuthorities, claims, auditTrail }
    const { enrolment } = new Doors({ ...stores, ...settings, ...by, registrar: registry })
    const posture = new Posture({
      ...{ ...stores, auditTrail, config: defaultsOf(PostureConfigSchema), rsaBitsMin: 2_048, settings: [], works: false },
      countDevices: (tenant) => registry.countDevices(tenant),
    })
    const models = new ModelDesk({ ...stores, config: defaultsOf(ModelsConfigSchema), hasType })
    const anomalies = new AnomalyArchive({ ...stores, anomaliesMax: 1_000 })
    const policies = new PolicyDesk({ ...stores, config: defaultsOf(AnomalyConfigSchema) })
    const feedback = new FeedbackService({
      ...{ ...stores, series, anomalies, policies, config: defaultsOf(AnomalyConfigSchema) },
      devices: {
        typeOf: async (tenant, device) => (await registry.getDevice(tenant, device)).type,
        ofType: (tenant, type, label, max) => registry.idsOf(tenant, type, label, max),
        labelsOf: (tenant, device) => registry.labelsOf(tenant, device),
      },
    })
    const facts = { labelsOf: (tenant: string, device: string) => registry.labelsOf(tenant, device) }
    const alerts = new Alerts({ ...stores, facts, config: defaultsOf(AlertsConfigSchema) })
    const webhooks = new Webhooks({ ...stores, config: defaultsOf(WebhooksConfigSchema, { allowHttp: true, allowPrivateTargets: true }) })
    const rulesConfig = defaultsOf(RulesConfigSchema, { activationMs: 200, refreshMs: 100 })
    const windowsConfig = defaultsOf(WindowsConfigSchema)
    const rules = new Rules({ ...stores, config: rulesConfig, windows: windowsConfig })
    // No turns are taken here: what agents look at is another test's.
    const memories = new Memories({ ...stores, config: defaultsOf(MemoryConfigSchema), works: false })
    const incidentOf = async () => null
    // Over things of its own: what is really done is app's to join.
    const { actions } = new CountingActions(documents)
    const proposals = new Proposals({ ...stores, actions, auditTrail, config: defaultsOf(ProposalsConfigSchema), works: false })
    const team = new IncidentTeam({ ...stores, config: defaultsOf(EvidenceConfigSchema), sources: {} as never, incidentOf: async () => null })
    const agents = new Agents({ ...stores, auditTrail, config: defaultsOf(AgentsConfigSchema), processId: 'test', team, memories, incidentOf, proactive: { config: defaultsOf(ProactiveConfigSchema) }, works: false })
    const desks = [signingDesk, authorityDesk, authorityOrders]
    const running: Service[] = [
      decommission,
      auditTrail, posture,
      registry,
      authority,
      certificates,
      ...desks,
      enrolmentTokens,
      expiryForecast,
      claims,
      factoryAuthorities,
      anomalies,
      models,
      feedback,
      policies,
      alerts,
      webhooks,
      rules,
      proposals,
      agents,
    ]
    for (const service of running) await service.start()
    const operations = { failing: {} as Record<string, string> }
    const services: ApiServices = {
      ...stores,
      ...{ posture, auditTrail, auditConfig: auditConfig(auditChanges) },
      deviceImport: new DeviceImport({ registry, log: silentLogger }),
      operatorDoor: new LocalOperatorDoor({ authority, enrolment }),
      proposals,
      ...{ series, registry, decommission, authorityOrders, certificates, enrolmentTokens, expiryForecast, claims, factoryAuthorities, anomalies, models, feedback, policies, webRoot },
      crlImport: new CrlImport({ ...common, certificates, config: provisioning, authorities: ownAuthorities(authority, certificates) }),
      config: defaultsOf(ApiConfigSchema, { port: 0, ...changes }),
      adminToken: new Secret(TOKEN),
      anomalyConfig: defaultsOf(AnomalyConfigSchema),
      alerts: alerts.service,
      externalAlerts: new ExternalAlerts({ ...stores, config: defaultsOf(AlertsConfigSchema), typeOf: (tenant, device) => registry.typeInUse(tenant, device) }),
      maintenance: alerts.maintenance,
      incidents: alerts.incidents,
      routing: webhooks.routing,
      webhooks: webhooks.service,
      rules: rules.service,
      ...{ conversations: agents.conversations, roster: agents.roster, attention: agents.attention, agentEvents: agents.events, proactive: agents.proactive, memories, digests: team.summaries, evidence: team.evidence },
      rulePreview: new RulePreview({
        ...{ service: rules.service, series, config: rulesConfig, windows: windowsConfig },
        devicesOf: (tenant) => registry.listDevices({ tenant, limit: 100 }),
      }),
      operations: operationsOf(operations, common.metrics),
    }
    const live = new LiveHub(services)
    const server = await buildServer(services, live)
    return new ApiFixture({ services, server, live, authority, operations }, async () => {
      await live.stop()
      await server.close()
      for (const service of running.toReversed()) await service.stop()
      await series.stop()
      await documents.stop()
      await opened.close()
      await rm(folder, { recursive: true, force: true })
    })
  }

  close(): Promise<void> {
    return this.#close()
  }

  /** A request below /api/v1 with the token. */
  ask(
    method: NonNullable<InjectOptions['method']>,
    path: string,
    options: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<LightMyRequestResponse> {
    return this.server.inject({
      method,
      url: `/api/v1${path}`,
      headers: { authorization: `Bearer ${TOKEN}`, ...options.headers },
      ...(options.body === undefined ? {} : { payload: options.body as object }),
    })
  }
}

function ownAuthorities({ issuing, issuers: [{ keyId }] }: CertificateAuthority, certificates: Certificates): CrlAuthorities {
  return (tenant) => Promise.resolve([{ certificate: issuing, find: (serial) => certificates.issuedBy(keyId, tenant, serial) }])
}

async function emptyPage(folder: string): Promise<string> {
  const webRoot = join(folder, 'web')
  await mkdir(webRoot)
  await writeFile(join(webRoot, 'index.html'), '<!doctype html><title>page</title>')
  return webRoot
}

function operationsOf(state: { failing: Record<string, string> }, metrics: Metrics): Operations {
  return { metricsText: () => metrics.registry.metrics(), notReady: () => Promise.resolve(state.failing) }
}

interface Problem {
  status: number
  code: string
  detail: string
  title: string
  errors?: { field: string; problem: string }[]
}

/** The problem details of an answer; fails for anything else. */
export function problemOf(answer: LightMyRequestResponse): Problem {
  const type = String(answer.headers['content-type'])
  if (!type.startsWith('application/problem+json')) throw new Error(`${answer.statusCode} ${type}: ${answer.body.slice(0, 300)}`)
  const problem = answer.json<Problem>()
  if (problem.status !== answer.statusCode) throw new Error(`status ${answer.statusCode} and ${problem.status} differ`)
  return problem
}
