import type { AuthenticateError, Client } from 'aedes'
import { authorise } from '../contracts/authorisation.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import type { DeviceSession } from './device-session.ts'
import type { DocumentsPersistence } from './persistence/documents-persistence.ts'
import type { RefusalReason } from './refusals.ts'
import { mayUseTopic } from './topic-policy.ts'

/** Return codes of CONNACK, MQTT 3.1.1 §3.2.2.3. */
export const IDENTIFIER_REJECTED = 2
export const SERVER_UNAVAILABLE = 3
export const NOT_AUTHORISED = 5

export type ConnectVerdict = { status: 'accepted' } | { status: 'refused'; reason: RefusalReason; returnCode: number; detail?: string }

/**
 * May this connection have the session its CONNECT asks for? The certificate was admitted at the end of the handshake; it is asked again
 * here, because a device may be revoked between the two.
 */
export function checkConnect(session: DeviceSession, client: Client, registry: RegistryView): ConnectVerdict {
  const { tenant, device, serial, issuer } = session.identity
  if (client.id !== session.sessionId) {
    return refused('client-id', IDENTIFIER_REJECTED, 'the client id is not the device id of the certificate')
  }
  const admission = registry.admit(tenant, device, serial, issuer)
  if (admission.status === 'refused') return refused(admission.reason, NOT_AUTHORISED)
  if (!authorise(session.principal, 'connect', { tenant, kind: 'session', id: device })) return refused('identity', NOT_AUTHORISED)
  if (session.willTopic !== undefined && !mayWill(session, session.willTopic)) return refused('foreign-will', NOT_AUTHORISED)
  return ACCEPTED
}

/** Is there room for the session it asks for? To be asked when the device is held here, and its session known. */
export function checkRoom(client: Client, sessions: DocumentsPersistence['sessions'], sessionsMax: number): ConnectVerdict {
  if (client.clean || sessions.has(client.id) || sessions.size < sessionsMax) return ACCEPTED
  return refused('sessions-max', SERVER_UNAVAILABLE)
}

const ACCEPTED: ConnectVerdict = { status: 'accepted' }

function mayWill(session: DeviceSession, topic: string): boolean {
  return topic.startsWith(session.topicPrefix) && mayUseTopic(session.principal, 'publish', topic.slice(session.topicPrefix.length))
}

function refused(reason: RefusalReason, returnCode: number, detail?: string): ConnectVerdict {
  return detail === undefined ? { status: 'refused', reason, returnCode } : { status: 'refused', reason, returnCode, detail }
}

/** The error Aedes turns into a CONNACK with this return code. */
export function connectRefusal(returnCode: number, cause?: unknown): AuthenticateError {
  return Object.assign(new InvalidInputError('connection refused', { cause }), { returnCode })
}
