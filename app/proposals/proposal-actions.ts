import type { ActionPort, Actions, DryRun } from '../../agents/proposals/actions.ts'
import type { AlertService } from '../../alerts/alert-service.ts'
import type { IncidentService } from '../../alerts/incidents/incident-service.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import type { Change } from '../../contracts/proposal.ts'
import type { Registry } from '../../device-registry/registry.ts'
import { isHeld } from '../../device-registry/transitions.ts'
import { ConflictError, NotFoundError } from '../../kernel/errors.ts'
import type { Certificates } from '../../provisioning/certificates.ts'

export interface ActionStations {
  registry: Pick<Registry, 'getDevice' | 'transition'>
  certificates: Pick<Certificates, 'list' | 'get' | 'revoke'>
  alerts: Pick<AlertService, 'list' | 'get' | 'silence'>
  incidents: Pick<IncidentService, 'get' | 'acknowledge'>
}

/** What can be proposed, over the stations that do it. Each is done to the version that was looked at, so that it cannot be done twice. */
export function proposalActions(stations: ActionStations): Actions {
  return {
    'device.quarantine': quarantine(stations),
    'certificate.revoke': revoke(stations),
    'alert.silence': silence(stations),
    'incident.acknowledge': acknowledge(stations),
  }
}

function quarantine({ registry }: ActionStations): ActionPort {
  return {
    targets: async ({ devices }, max) => devices.slice(0, max),
    dryRun: (tenant, { target }) =>
      seen(async () => {
        const { state, version } = await registry.getDevice(tenant, target)
        if (state === 'quarantined') return { status: 'applied' }
        if (isHeld(state) || state === 'decommissioning' || state === 'decommissioned') return impossible(`the device is ${state}`)
        return possible(version, { subject: `device/${target}`, field: 'state', before: state, after: 'quarantined' })
      }),
    execute: async (tenant, { target }, { basis, by, proposal }) => {
      await registry.transition(tenant, target, 'quarantined', by, { why: `proposal ${proposal}`, version: basis })
    },
  }
}

function revoke({ certificates }: ActionStations): ActionPort {
  return {
    // A device that has many has some of before: the newest is the one in use.
    targets: async ({ tenant, devices }, max) => {
      const found = await Promise.all(
        devices.slice(0, max).map((device) => certificates.list({ tenant, device, state: 'valid', limit: 1 })),
      )
      return found.flatMap(({ items }) => items.map(({ serial }) => serial))
    },
    dryRun: (tenant, { target }) =>
      seen(async () => {
        const { state, version } = await certificates.get(tenant, target)
        if (state === 'revoked') return { status: 'applied' }
        return possible(version, { subject: `certificate/${target}`, field: 'state', before: state, after: 'revoked' })
      }),
    // Revoking again answers the first revocation: nothing is done twice.
    execute: async (tenant, { target }, { by }) => {
      await certificates.revoke(tenant, target, 'unspecified', by)
    },
  }
}

function silence({ alerts }: ActionStations): ActionPort {
  return {
    targets: async ({ tenant, id }, max) => {
      const { items } = await alerts.list(system(tenant), { incident: id, limit: max })
      return items.filter(({ state }) => state !== 'resolved').map((alert) => alert.id)
    },
    dryRun: (tenant, { target, untilMs }) =>
      seen(async () => {
        const { state, silencedUntil, version } = await alerts.get(system(tenant), target)
        if (silencedUntil === untilMs) return { status: 'applied' }
        if (state === 'resolved') return impossible('the alert is over')
        return possible(version, { subject: `alert/${target}`, field: 'silencedUntil', before: silencedUntil, after: untilMs })
      }),
    execute: async (tenant, { target, untilMs }, { basis, by, proposal }) => {
      const command = { id: target, untilMs: untilMs ?? 0, expectedVersion: basis, note: `proposal ${proposal}` }
      await alerts.silence(inNameOf(tenant, by), command)
    },
  }
}

function acknowledge({ incidents }: ActionStations): ActionPort {
  return {
    targets: async ({ id }) => [id],
    dryRun: (tenant, { target }) =>
      seen(async () => {
        const { state, version } = await incidents.get(system(tenant), target)
        if (state === 'acknowledged') return { status: 'applied' }
        if (state === 'resolved') return impossible('the incident is over')
        return possible(version, { subject: `incident/${target}`, field: 'state', before: state, after: 'acknowledged' })
      }),
    execute: async (tenant, { target }, { basis, by, proposal }) => {
      await incidents.acknowledge(inNameOf(tenant, by), { id: target, note: `proposal ${proposal}`, expectedVersion: basis })
    },
  }
}

/** Dry runs only read. */
function system(tenant: string): Principal {
  return { kind: 'system', id: 'proposals', tenant, roles: [] }
}

/** Whoever approved had the right for it then, and it is theirs; what they may do by now is another matter. */
function inNameOf(tenant: string, by: string): Principal {
  const [kind, ...id] = by.split(':')
  return { kind: kind === 'api-key' ? 'api-key' : 'user', id: id.join(':'), tenant, roles: ['operator'] }
}

function possible(basis: number, ...diff: Change[]): DryRun {
  return { status: 'possible', basis, diff }
}
function impossible(why: string): DryRun {
  return { status: 'impossible', why }
}

async function seen(look: () => Promise<DryRun>): Promise<DryRun> {
  try {
    return await look()
  } catch (error) {
    if (error instanceof NotFoundError) return impossible('it is gone')
    if (error instanceof ConflictError) return impossible(error.message)
    throw error
  }
}
