import { compileSchema } from '../../../kernel/schema.ts'
import { packetLimitsSchema, type PacketLimits } from '../limits.ts'

/** The limits as they are by default, some of them changed. */
export function defaultLimits(changes: Partial<PacketLimits> = {}): PacketLimits {
  const result = compileSchema(packetLimitsSchema)({ ...changes })
  if (result.status === 'invalid') throw new Error(JSON.stringify(result.faults))
  return result.value
}
