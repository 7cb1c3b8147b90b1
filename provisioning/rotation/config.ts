import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'

const DAY_MS = 86_400_000

/** When device certificates are due, late and retired. */
export const RotationConfigSchema = Type.Object(
  {
    renewAfterFraction: Type.Number({
      default: 0.66,
      minimum: 0.05,
      maximum: 0.95,
      description:
        'Part of its lifetime after which a device certificate is due: the device is told on devices/{id}/certificate, and again at each connection.',
    }),
    lateAfterFraction: Type.Number({
      default: 0.85,
      minimum: 0.1,
      maximum: 0.99,
      description:
        'Part of its lifetime after which a certificate that was not renewed raises an alert; it becomes critical when the certificate ends.',
    }),
    graceMs: Type.Integer({
      default: 7 * DAY_MS,
      minimum: 1_000,
      maximum: 365 * DAY_MS,
      description:
        'ms after which a renewed certificate is revoked although its successor was not seen in use; with the first use of the successor it is revoked at once.',
    }),
    renewalsMax: Type.Integer({
      default: 10,
      minimum: 1,
      maximum: 1_000,
      description: 'Certificates that may be issued in the place of one: a device that goes on asking cannot keep the CA busy.',
    }),
    checkIntervalMs: Type.Integer({
      default: 5_000,
      minimum: 100,
      maximum: 3_600_000,
      description: 'ms between looks for certificates with something due. Dates are in the documents, so that they survive restarts.',
    }),
    checkDocumentsMax: Type.Integer({
      default: 500,
      minimum: 1,
      maximum: 10_000,
      description: 'Certificates read at once by such a look; it goes on until none is left.',
    }),
    recheckMs: Type.Integer({
      default: 3_600_000,
      minimum: 100,
      maximum: 30 * DAY_MS,
      description: 'ms after which a late certificate of a suspended device, which may not renew, is looked at again.',
    }),
    forecastIntervalMs: Type.Integer({
      default: 60_000,
      minimum: 100,
      maximum: DAY_MS,
      description: 'ms between counts of certificates by the time they have left, for the metrics.',
    }),
    pollRecordsMax: Type.Integer({
      default: 200,
      minimum: 1,
      maximum: 10_000,
      description: 'Device events taken from the log at once.',
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
      description: 'Pause after the log or the documents store could not be read or written, in ms.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type RotationConfig = Static<typeof RotationConfigSchema>

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckRotationConfig(config: RotationConfig, section: string): ConfigFault[] {
  if (config.lateAfterFraction > config.renewAfterFraction) return []
  const problem = `${config.lateAfterFraction} is not after renewAfterFraction: a device would be late before it is due`
  return [{ key: `${section}.lateAfterFraction`, problem, allowed: `more than ${config.renewAfterFraction}` }]
}
