import { documentKey } from '../../broker/persistence/document-key.ts'
import { deviceKey } from '../../contracts/topics.ts'
import type { Stored } from '../../storage/documents/documents.ts'
import { partitionOf } from '../../storage/event-log/partitioner.ts'

/** A document at its new place. */
export interface MovedDocument {
  id: string
  document: object
}

export interface MoveContext {
  /** Partitions of the new log's topics. */
  partitions: number
}

/** Null: this document stays behind. */
export type Transform = (stored: Stored & Record<string, unknown>, context: MoveContext) => MovedDocument | null

/** What becomes of a collection: a copy in each of `to`, or nothing, and why. */
export type MoveRule = { to: Readonly<Record<string, Transform>> } | { stays: string }

const PROCESSES = 'tells running processes apart, and is made anew'
const LAB = 'belongs to the conformance listener'

/**
 * Every collection of documents, and what moving it takes. The new event log begins empty: whatever names a place in the old one would be
 * taken for a place in the new one, and is left out or set to its beginning. A test keeps this table and the sources equal.
 */
export const MOVE_RULES: Readonly<Record<string, MoveRule>> = {
  devices: copied('devices'),
  'device-types': copied('device-types'),
  certificates: copied('certificates'),
  audit: copied('audit'),
  findings: copied('findings'),
  'posture-runs': copied('posture-runs'),
  'certificate-sightings': copied('certificate-sightings'),
  'audit-checkpoints': copied('audit-checkpoints'),
  decommissions: copied('decommissions'),
  'forgotten-devices': { stays: 'is asked for anew by whoever still waits for it' },
  'statement-keys': copied('statement-keys'),
  'crl-numbers': copied('crl-numbers'),
  'enrolment-tokens': copied('enrolment-tokens'),
  claims: copied('claims'),
  'claim-uses': copied('claim-uses'),
  'factory-authorities': copied('factory-authorities'),
  'factory-devices': copied('factory-devices'),
  'factory-codes': copied('factory-codes'),
  'failed-logins': { stays: 'counts of the last minute' },
  'door-requests': { stays: 'nobody waits for them any more' },
  'metric-catalogue': copied('metric-catalogue'),
  // Windows and detectors; the target `anomaly` in a process of its own keeps its states apart.
  'device-states': { to: { 'device-states': deviceState, 'device-states-anomaly': deviceState } },
  'device-states-anomaly': { stays: 'exists only where anomaly has processes of its own' },
  checkpoints: { stays: 'offsets of the old log' },
  ledger: copied('ledger'),
  'ledger-gaps': { to: { 'ledger-gaps': ledgerGaps } },
  'ledger-summary': { stays: 'is summed up anew from the device states' },
  anomalies: copied('anomalies'),
  rules: copied('rules'),
  models: copied('models'),
  'model-lines': copied('model-lines'),
  'model-files': copied('model-files'),
  'model-observations': copied('model-observations'),
  'model-leases': { stays: PROCESSES },
  feedback: copied('feedback'),
  'feedback-changes': copied('feedback-changes'),
  'feedback-adoptions': { stays: 'offsets of the old log' },
  'anomaly-policies': copied('anomaly-policies'),
  'anomaly-policy-adoptions': { stays: 'offsets of the old log' },
  'peer-parts': { stays: PROCESSES },
  'peer-summaries': { stays: 'of some hours, known from offsets of the old log on' },
  'peer-adoptions': { stays: 'offsets of the old log' },
  alerts: { to: { alerts: alert } },
  incidents: copied('incidents'),
  evidence: copied('evidence'),
  summaries: copied('summaries'),
  'incident-desks': copied('incident-desks'),
  'maintenance-windows': copied('maintenance-windows'),
  'alert-routing': copied('alert-routing'),
  'webhook-endpoints': copied('webhook-endpoints'),
  'webhook-deliveries': copied('webhook-deliveries'),
  conversations: copied('conversations'),
  'conversation-messages': copied('conversation-messages'),
  'agent-keys': copied('agent-keys'),
  // What is sealed stays as it lies: id and collection are the same. The cluster needs the keys, and tells so at its start.
  'seal-keys': copied('seal-keys'),
  agents: copied('agents'),
  'agent-attention-states': { stays: 'is made anew from the conversations' },
  'agent-memories': copied('agent-memories'),
  'proactive-rules': copied('proactive-rules'),
  'proactive-firings': copied('proactive-firings'),
  'agent-leases': { stays: PROCESSES },
  'platform-pulses': { stays: PROCESSES },
  'watchdog-states': { stays: 'remembers places in the old log' },
  'agent-events': copied('agent-events'),
  'agent-events-taken': copied('agent-events-taken'),
  investigations: copied('investigations'),
  'brain-site-budgets': { stays: 'is of a day' },
  proposals: copied('proposals'),
  'brain-allowances': { stays: 'is of a minute and a day' },
  'brain-standings': copied('brain-standings'),
  sessions: copied('sessions'),
  'token-keys': copied('token-keys'),
  'api-keys': copied('api-keys'),
  idempotency: copied('idempotency'),
  'broker-sessions': copied('broker-sessions'),
  'broker-retained': copied('broker-retained'),
  'broker-incoming': copied('broker-incoming'),
  'broker-wills': copied('broker-wills'),
  'broker-queues': { to: { 'broker-queues': queuedMessage } },
  'broker-edges': { stays: PROCESSES },
  'broker-seats': { stays: PROCESSES },
  authorities: { stays: 'is published anew from the folder pki' },
  'signing-requests': { stays: PROCESSES },
  'audit-intents': { stays: PROCESSES },
  'operator-requests': { stays: PROCESSES },
  'authority-orders': { stays: 'is answered at once or not at all' },
  'server-certificates': { stays: PROCESSES },
  ...Object.fromEntries(
    ['sessions', 'retained', 'incoming', 'wills', 'queues', 'edges', 'seats'].map((name) => [`lab-${name}`, { stays: LAB }]),
  ),
}

function copied(name: string): MoveRule {
  return { to: { [name]: ({ _id: id, version: _version, ...document }) => ({ id, document }) } }
}

/**
 * Identity, windows and detectors go along, so that duplicates stay known; nothing of the new log is in the state yet, and versions of the
 * ledger's documents begin anew.
 */
function deviceState(
  { _id: id, version: _version, ...state }: Stored & Record<string, unknown>,
  { partitions }: MoveContext,
): MovedDocument {
  const hours = (state.hours as object[] | undefined)?.map((hour) => ({ ...hour, documentVersion: 0 })) ?? []
  return { id, document: { ...state, hours, partition: newPartition(state, partitions), nextOffset: 0, nextRejectedOffset: 0 } }
}

function ledgerGaps({ _id: id, version: _version, ...gaps }: Stored & Record<string, unknown>, { partitions }: MoveContext): MovedDocument {
  return { id, document: { ...gaps, partition: newPartition(gaps, partitions), position: 0 } }
}

/** Where the device's readings will be. */
function newPartition({ tenant, device }: Record<string, unknown>, partitions: number): number {
  const key = Buffer.from(deviceKey(String(tenant), String(device)))
  return partitionOf(key, 0, key.length, partitions)
}

/**
 * An alert takes anomalies up to its position for known ones. Of its outbox, messages about anomalies were appended with the commit that the
 * move demands; those of people and timers that may be missing are kept.
 */
function alert({ _id: id, version: _version, ...document }: Stored & Record<string, unknown>): MovedDocument {
  const outbox = (document.outbox as { position: unknown }[]).filter((entry) => entry.position === null)
  return { id, document: { ...document, position: { partition: 0, offset: -1 }, elsewhere: [], outbox } }
}

/** A message that waits for a device keeps its order and loses its place in the old log, which is in its id too; marks of delivered ones stay. */
function queuedMessage({ _id: id, version: _version, ...message }: Stored & Record<string, unknown>): MovedDocument | null {
  if (message.done === true) return null
  const { place, brokerId: _brokerId, ...document } = message
  if (place === undefined) return { id, document: message }
  const order = Number(message.order).toString(36).padStart(11, '0')
  return { id: `${documentKey(String(message.clientId))}/${order}`, document: { ...document, brokerId: 'moved' } }
}
