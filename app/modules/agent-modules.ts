import { Agents } from '../../agents/agents.ts'
import { Memories } from '../../agents/memory/memories.ts'
import { Proposals } from '../../agents/proposals/proposals.ts'
import { IncidentTeam } from '../../agents/team/incident-team.ts'
import type { Incident } from '../../contracts/incident.ts'
import { NotFoundError } from '../../kernel/errors.ts'
import { proposalActions } from '../proposals/proposal-actions.ts'
import { EvidenceSources } from '../evidence/evidence-sources.ts'
import { StoredDomainFacts } from '../evidence/domain-facts.ts'
import type { ModuleTable, Parts } from '../module.ts'
import { STORES } from './stores.ts'

/** Who talks about incidents, and what they look at. */
export const AGENT_MODULES = {
  evidenceSources: {
    targets: [],
    needs: [...STORES, 'series', 'auditTrail', 'anomalyArchive'],
    build: (_context, parts) => new EvidenceSources(parts),
  },
  domainFacts: {
    targets: [],
    needs: ['documents', 'series', 'rules', 'expiryForecast'],
    build: (_context, parts) => new StoredDomainFacts(parts),
  },
  proposals: {
    targets: [],
    needs: [...STORES, 'auditTrail', 'registry', 'certificates', 'alerts'],
    build: (context, parts) => {
      const { service: alerts, incidents } = parts.alerts
      const actions = proposalActions({ registry: parts.registry, certificates: parts.certificates, alerts, incidents })
      return new Proposals({ ...context, ...parts, actions, config: context.config.proposals, works: context.targets.includes('agents') })
    },
  },
  agents: {
    targets: ['agents'],
    needs: [...STORES, 'auditTrail', 'evidenceSources', 'domainFacts', 'proposals', 'alerts', 'brains', 'spans'],
    build: (context, parts) => {
      const { clock, log, config } = context
      const { documents, evidenceSources: sources, brains: models, proposals } = parts
      const works = context.targets.includes('agents')
      const incidentOf = incidentsOf(parts)
      const memories = new Memories({ documents, clock, log, config: config.memory, works })
      const team = new IncidentTeam({
        documents,
        clock,
        log,
        metrics: context.metrics,
        config: config.evidence,
        sources,
        models,
        memories,
        proposals,
        incidentOf,
        spans: parts.spans,
      })
      const proactive = { config: config.proactive, facts: parts.domainFacts }
      return new Agents({ ...context, ...parts, config: config.agents, team, memories, incidentOf, proactive, works })
    },
  },
} satisfies Partial<ModuleTable>

function incidentsOf({ alerts }: Parts): (tenant: string, id: string) => Promise<Incident | null> {
  return async (tenant, id) => {
    try {
      return await alerts.incidents.get({ kind: 'system', id: 'agents', tenant, roles: [] }, id)
    } catch (error) {
      if (error instanceof NotFoundError) return null
      throw error
    }
  }
}
