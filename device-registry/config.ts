import { Type, type Static } from 'typebox'
import { InternalError } from '../kernel/errors.ts'
import { compileSchema } from '../kernel/schema.ts'

/** Settings of the device registry, its view in every door, and of noting first connections. */
export const RegistryConfigSchema = Type.Object(
  {
    announceRetryMs: Type.Integer({
      default: 500,
      minimum: 10,
      maximum: 60_000,
      description: 'A change whose event could not be appended is announced again after so many ms, until it is.',
    }),
    pollRecordsMax: Type.Integer({
      default: 500,
      minimum: 1,
      maximum: 10_000,
      description: 'Device events taken from the log at once; each is about 200 bytes.',
    }),
    pollWaitMs: Type.Integer({
      default: 1_000,
      minimum: 10,
      maximum: 60_000,
      description: 'A poll without events ends after so many ms. It does not delay events: they end it at once.',
    }),
    retryMs: Type.Integer({
      default: 200,
      minimum: 10,
      maximum: 60_000,
      description: 'Pause after the log or the documents store could not be read, in ms.',
    }),
    loadPageDocuments: Type.Integer({
      default: 1_000,
      minimum: 1,
      maximum: 100_000,
      description: 'Documents fetched at once while the view loads and when many devices changed: bounds what is held twice.',
    }),
    historyMax: Type.Integer({
      default: 20,
      minimum: 2,
      maximum: 1_000,
      description: 'Steps of its life (who, why, when) kept with each device, about 200 bytes each; the audit trail has all of them.',
    }),
    labelsMax: Type.Integer({
      default: 64,
      minimum: 0,
      maximum: 1_000,
      description: 'Labels of one device; every door holds the labels of all devices in memory.',
    }),
    importRowsMax: Type.Integer({
      default: 20_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Rows of a CSV file of devices; they are held in memory until the last one is read.',
    }),
    importBytesMax: Type.Integer({
      default: 8_388_608,
      minimum: 1_024,
      maximum: 1_073_741_824,
      description: 'Bytes of a CSV file of devices.',
    }),
    importRowsInFlightMax: Type.Integer({
      default: 32,
      minimum: 1,
      maximum: 1_000,
      description: 'Rows of an import that are written at once: enough to share the store’s commits.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type RegistryConfig = Static<typeof RegistryConfigSchema>

const check = compileSchema(RegistryConfigSchema)

/** The documented defaults, with some changed. */
export function registryConfig(changes: Partial<RegistryConfig> = {}): RegistryConfig {
  const checked = check({ ...changes })
  if (checked.status === 'valid') return checked.value
  throw new InternalError('the registry’s settings do not keep to their own schema', { details: { faults: checked.faults } })
}
