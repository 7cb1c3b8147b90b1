import type { FastifyInstance, FastifyRequest, RawServerDefault, FastifyBaseLogger } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { AttentionStates } from '../../agents/attention/attention-states.ts'
import type { ConversationService } from '../../agents/conversation/conversation-service.ts'
import type { Firings } from '../../agents/proactive/firings.ts'
import type { ProactiveRules } from '../../agents/proactive/rules-service.ts'
import type { EventDesk } from '../../agents/events/event-desk.ts'
import type { EvidenceStore } from '../../agents/evidence/evidence-store.ts'
import type { Memories } from '../../agents/memory/memories.ts'
import type { Proposals } from '../../agents/proposals/proposals.ts'
import type { Roster } from '../../agents/roster/roster.ts'
import type { SummaryStore } from '../../agents/summary/summary-store.ts'
import type { AlertService } from '../../alerts/alert-service.ts'
import type { ExternalAlerts } from '../../alerts/external/external-alerts.ts'
import type { IncidentService } from '../../alerts/incidents/incident-service.ts'
import type { MaintenanceService } from '../../alerts/maintenance/maintenance-service.ts'
import type { RoutingService } from '../../alerts/routing/routing-service.ts'
import type { WebhookService } from '../../alerts/webhooks/webhook-service.ts'
import type { AnomalyArchive } from '../../anomaly/anomaly-archive.ts'
import type { ModelDesk } from '../../anomaly/models/model-desk.ts'
import type { AnomalyConfig } from '../../anomaly/config.ts'
import type { PolicyDesk } from '../../anomaly/policies/policy-desk.ts'
import type { FeedbackService } from '../../anomaly/feedback/feedback-service.ts'
import type { AuditedAct } from '../../contracts/audit.ts'
import type { Action, Principal } from '../../contracts/authorisation.ts'
import type { AuditConfig } from '../../device-registry/audit/config.ts'
import type { Trail } from '../../device-registry/audit/trail.ts'
import type { DeviceImport } from '../../device-registry/import/device-import.ts'
import type { Decommission } from '../../device-registry/decommission/decommission.ts'
import type { Registry } from '../../device-registry/registry.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Secret } from '../../kernel/secret.ts'
import type { Clock } from '../../kernel/time.ts'
import type { RulePreview } from '../../processing/rules/rule-preview.ts'
import type { RulesService } from '../../processing/rules/rules-service.ts'
import type { AuthorityOrders } from '../../provisioning/ca/authority-orders.ts'
import type { Certificates } from '../../provisioning/certificates.ts'
import type { CrlImport } from '../../provisioning/revocation/crl-import.ts'
import type { OperatorDoor } from '../../provisioning/doors/operator-door.ts'
import type { Claims } from '../../provisioning/doors/claims.ts'
import type { FactoryAuthorities } from '../../provisioning/trust/factory-authorities.ts'
import type { EnrolmentTokens } from '../../provisioning/doors/enrolment-tokens.ts'
import type { ExpiryForecast } from '../../provisioning/rotation/expiry-forecast.ts'
import type { Posture } from '../../provisioning/posture/posture.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import type { ApiConfig } from './config.ts'
import type { LiveHub } from './live-hub.ts'

/** Where the operator API begins. */
export const API_PREFIX = '/api/v1'

/** Health of the whole process, over all its threads. */
export interface Operations {
  /** Prometheus text of every thread. */
  metricsText(): Promise<string>
  /** What is not ready, by part; empty when everything works. */
  notReady(): Promise<Record<string, string>>
}

/** Everything the routes need; built by app. */
export interface ApiServices {
  config: ApiConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  adminToken: Secret
  documents: Documents
  eventLog: EventLog
  series: SeriesStore
  registry: Registry
  deviceImport: DeviceImport
  operatorDoor: OperatorDoor
  alerts: AlertService
  externalAlerts: ExternalAlerts
  maintenance: MaintenanceService
  incidents: IncidentService
  routing: RoutingService
  webhooks: WebhookService
  rules: RulesService
  rulePreview: RulePreview
  anomalies: AnomalyArchive
  models: ModelDesk
  feedback: FeedbackService
  policies: PolicyDesk
  conversations: ConversationService
  roster: Roster
  attention: AttentionStates
  memories: Memories
  proactive: { rules: ProactiveRules; firings: Firings }
  agentEvents: EventDesk
  digests: SummaryStore
  evidence: EvidenceStore
  proposals: Proposals
  anomalyConfig: AnomalyConfig
  certificates: Certificates
  authorityOrders: AuthorityOrders
  crlImport: CrlImport
  enrolmentTokens: EnrolmentTokens
  decommission: Decommission
  expiryForecast: ExpiryForecast
  claims: Claims
  factoryAuthorities: FactoryAuthorities
  operations: Operations
  posture: Posture
  auditTrail: Trail
  auditConfig: AuditConfig
  /** Folder of the built page. */
  webRoot: string
}

export type Api = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>

/** What a route knows of its act and the request does not say; `actor` where the request itself proves who it is. */
export type ActDetails = Partial<Pick<AuditedAct, 'action' | 'subject' | 'device' | 'why' | 'before' | 'after' | 'actor' | 'tenant'>>

/** Who asks, and how the record calls them: `user:NAME`, `api-key:ID`. */
export type Caller = Principal & { actor: string }

/** What a route file gets: the services, the live hub, and the check that every handler begins with. */
export interface RouteContext extends ApiServices {
  live: LiveHub
  /** Asks the authorisation function about whoever made the request; throws AccessError. */
  allow(request: FastifyRequest, action: Action, kind: string, id?: string): Caller
  /** The same for a request that goes on: false once its token, key or session is over, or the right is gone. */
  isStillAllowed(request: FastifyRequest, action: Action, kind: string, id?: string): Promise<boolean>
  /** What a mutating route knows of its act beyond the request; what changed, above all. */
  tell(request: FastifyRequest, details: ActDetails): void
  /** Items per page for a request's `limit`; `itemsMax` is a bound of the service that is asked. */
  pageSize(limit: number | undefined, itemsMax?: number): number
}
