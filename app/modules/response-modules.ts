import { fileURLToPath } from 'node:url'
import { BusDigestReader } from '../../agents/bus/digest-reader.ts'
import { Alerts } from '../../alerts/alerts.ts'
import { ExternalAlerts } from '../../alerts/external/external-alerts.ts'
import { partTrouble } from '../../alerts/platform-health.ts'
import { Webhooks } from '../../alerts/webhooks/webhooks.ts'
import type { PlatformTrouble } from '../../contracts/platform-trouble.ts'
import { RulePreview } from '../../processing/rules/rule-preview.ts'
import { ApiServer } from '../../dashboard/api/server.ts'
import { DeviceImport } from '../../device-registry/import/device-import.ts'
import { openAdminToken } from '../../provisioning/admin-token.ts'
import { LocalOperatorDoor, RemoteOperatorDoor, type OperatorDoor } from '../../provisioning/doors/operator-door.ts'
import { CrlImport } from '../../provisioning/revocation/crl-import.ts'
import { publishedAuthorities } from '../../provisioning/revocation/published-authorities.ts'
import type { BuildContext, Parts, ModuleTable } from '../module.ts'
import { STORES } from './stores.ts'

/** What people are told. */
export const RESPONSE_MODULES = {
  alerts: {
    targets: ['alerts'],
    needs: [...STORES, 'registry', 'brains'],
    build: (context, parts) =>
      new Alerts({
        ...context,
        ...parts,
        config: context.config.alerts,
        facts: { labelsOf: (tenant, device) => parts.registry.labelsOf(tenant, device) },
        health: { processId: context.processId, troubles: () => troublesOf(context, parts) },
        works: context.targets.includes('alerts'),
      }),
  },
  digestReader: {
    targets: [],
    needs: ['documents'],
    build: (_context, parts) => new BusDigestReader(parts),
  },
  webhooks: {
    targets: ['alerts'],
    needs: [...STORES, 'digestReader'],
    build: (context, parts) =>
      new Webhooks({
        ...{ ...context, ...parts, digests: parts.digestReader },
        ...{ config: context.config.webhooks, works: context.targets.includes('alerts') },
      }),
  },
} satisfies Partial<ModuleTable>

/** Behind everything that it shows. */
export const API_MODULES = {
  api: {
    targets: ['dashboard'],
    needs: [
      ...STORES,
      'series',
      'auditTrail',
      'registry',
      'certificates',
      'authorityOrders',
      'enrolmentTokens',
      'expiryForecast',
      'claims',
      'factoryAuthorities',
      'posture',
      'anomalyArchive',
      'modelDesk',
      'alerts',
      'webhooks',
      'agents',
      'proposals',
      'rules',
      'decommission',
      'feedback',
      'policies',
    ],
    build: async (context, parts) =>
      new ApiServer({
        ...context,
        ...parts,
        config: context.config.api,
        auditConfig: context.config.audit,
        anomalyConfig: context.config.anomaly,
        operatorDoor: operatorDoor(context, parts),
        deviceImport: new DeviceImport({ ...context, ...parts, registryConfig: context.config.registry }),
        adminToken: await openAdminToken(context.dataDirectory),
        ...{ alerts: parts.alerts.service, maintenance: parts.alerts.maintenance, incidents: parts.alerts.incidents },
        ...{ webhooks: parts.webhooks.service, routing: parts.webhooks.routing },
        externalAlerts: externalAlerts(context, parts),
        rules: parts.rules.service,
        rulePreview: rulePreview(context, parts),
        anomalies: parts.anomalyArchive,
        models: parts.modelDesk,
        ...{ conversations: parts.agents.conversations, roster: parts.agents.roster, attention: parts.agents.attention, proactive: parts.agents.proactive, memories: parts.agents.memories },
        agentEvents: parts.agents.events,
        ...{ digests: parts.agents.team.summaries, evidence: parts.agents.team.evidence },
        crlImport: new CrlImport({
          ...context,
          certificates: parts.certificates,
          authorities: async (tenant) => [
            ...(await publishedAuthorities(parts.documents, parts.certificates, tenant)),
            ...(await parts.factoryAuthorities.crlAuthorities(tenant)),
          ],
          config: context.config.provisioning,
        }),
        webRoot: fileURLToPath(new URL('../../../dist/web', import.meta.url)),
      }),
  },
} satisfies Partial<ModuleTable>

function externalAlerts(context: BuildContext, { eventLog, registry }: Parts): ExternalAlerts {
  return new ExternalAlerts({ ...context, eventLog, config: context.config.alerts, typeOf: (tenant, device) => registry.typeInUse(tenant, device) })
}

/** Devices of one page of a preview. */
const PREVIEW_PAGE_DEVICES = 1_000

function rulePreview({ config }: BuildContext, { rules, series, registry }: Parts): RulePreview {
  const devicesOf = (tenant: string, after: string | undefined) =>
    registry.listDevices({ tenant, limit: PREVIEW_PAGE_DEVICES, ...(after === undefined ? {} : { after }) })
  return new RulePreview({ service: rules.service, series, devicesOf, config: config.rules, windows: config.windows })
}

/** Parts of this process that do not work, and models that take nothing from any process of ours. */
async function troublesOf({ operations }: BuildContext, { brains }: Parts): Promise<Record<string, PlatformTrouble>> {
  const said = { ...(await operations.notReady()), ...(await brains.troubles()) }
  return Object.fromEntries(Object.entries(said).map(([part, what]) => [part, partTrouble(what)]))
}

/** The CA is in the registry's process alone. */
function operatorDoor(context: BuildContext, parts: Parts): OperatorDoor {
  const { enrolment, authority } = parts as Partial<Parts>
  if (enrolment !== undefined && authority !== undefined) return new LocalOperatorDoor({ enrolment, authority })
  return new RemoteOperatorDoor({ ...context, ...parts, config: context.config.provisioning })
}
