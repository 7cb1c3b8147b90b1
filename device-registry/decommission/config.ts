import { Type, type Static } from 'typebox'
import { InternalError } from '../../kernel/errors.ts'
import { compileSchema } from '../../kernel/schema.ts'

const DAY_MS = 86_400_000
export const WIPE_TIMEOUT_MS_MAX = 90 * DAY_MS

/** How devices leave: the policy where a request names none, and the pace of the workflow. */
export const DecommissionConfigSchema = Type.Object(
  {
    readings: Type.Union([Type.Literal('keep'), Type.Literal('erase')], {
      default: 'keep',
      description:
        'What becomes of the readings of a decommissioned device where the request does not say. Erasing cannot be undone, so it has to be chosen.',
    }),
    wipe: Type.Boolean({ default: true, description: 'Whether the device is told to wipe itself where the request does not say.' }),
    wipeTimeoutMs: Type.Integer({
      default: 60_000,
      minimum: 0,
      maximum: WIPE_TIMEOUT_MS_MAX,
      description:
        'ms for which the acknowledgement of the wipe command is waited for where the request does not say; meanwhile an offline device can connect and get it. Long for devices that sleep; its certificates are revoked after it.',
    }),
    storedTimeoutMs: Type.Integer({
      default: 30_000,
      minimum: 0,
      maximum: 3_600_000,
      description:
        'ms for which readings that are still in the event log are waited for, so that they are counted; those that come later are kept out all the same.',
    }),
    askAgainMs: Type.Integer({
      default: 30_000,
      minimum: 100,
      maximum: 600_000,
      description: 'An edge that did not say that it forgot a device is asked again after so many ms, until one does.',
    }),
    pollMs: Type.Integer({
      default: 200,
      minimum: 5,
      maximum: 10_000,
      description:
        'ms between looks whether a device is to leave, an edge has answered or readings are stored; an acknowledged wipe is noticed at once.',
    }),
    retryMs: Type.Integer({
      default: 1_000,
      minimum: 10,
      maximum: 600_000,
      description: 'Pause after a step that failed, in ms; it is tried until it works.',
    }),
    movePageReadings: Type.Integer({
      default: 2_000,
      minimum: 1,
      maximum: 10_000,
      description: 'Readings copied at once when history moves to another tenant; progress is saved after each page.',
    }),
    runningMax: Type.Integer({
      default: 200,
      minimum: 1,
      maximum: 10_000,
      description: 'Devices on their way out at once; more requests are refused until some are done.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type DecommissionConfig = Static<typeof DecommissionConfigSchema>

const check = compileSchema(DecommissionConfigSchema)

/** The documented defaults, with some changed. */
export function decommissionConfig(changes: Partial<DecommissionConfig> = {}): DecommissionConfig {
  const checked = check({ ...changes })
  if (checked.status === 'valid') return checked.value
  throw new InternalError('the settings of decommissioning do not keep to their own schema', { details: { faults: checked.faults } })
}
