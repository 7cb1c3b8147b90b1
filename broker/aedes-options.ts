import type { AedesOptions } from 'aedes'
import type { BrokerConfig } from './config.ts'
import { DirectEmitter } from './direct-emitter.ts'
import type { PacketLimits } from './packets/limits.ts'
import { AEDES_OPTIONS_BEHIND_PACKET_CHECK } from './packets/strict-connection.ts'
import type { DocumentsPersistence } from './persistence/documents-persistence.ts'

/** The packet check ends those that do not connect in time, and counts them; Aedes' own timer only has to come later. */
const CONNECT_TIMEOUT_MARGIN_MS = 5_000

/** What every Aedes of ours has in common: behind the packet check, on our persistence, with the bounds of the configuration. */
export function aedesOptions(config: BrokerConfig, limits: PacketLimits, persistence: DocumentsPersistence): AedesOptions {
  return {
    ...AEDES_OPTIONS_BEHIND_PACKET_CHECK,
    mq: new DirectEmitter(),
    persistence,
    connectTimeout: limits.connectTimeoutMs + CONNECT_TIMEOUT_MARGIN_MS,
    drainTimeout: config.drainTimeoutMs,
    maxInflightInbound: config.inboundQos2Max,
  }
}
