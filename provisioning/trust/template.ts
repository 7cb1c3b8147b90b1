import { Type, type Static } from 'typebox'
import { DEVICE_ID_PATTERN, isDeviceId } from '../../contracts/device.ts'

const PLACEHOLDER = '{id}'
/** Subject attributes that a pattern may read and labels may repeat, by their short names. */
export const SUBJECT_ATTRIBUTES = ['CN', 'serialNumber', 'O', 'OU', 'L', 'ST', 'C'] as const
const LABEL_VALUE_CHARS_MAX = 256

/** Text around one `{id}`; no expressions, so that nothing an operator writes can be slow or ambiguous. */
const OneIdSchema = Type.String({ pattern: '^[^{}]{0,64}\\{id\\}[^{}]{0,64}$' })

/** What becomes of a device certificate of a factory CA. */
export const FactoryTemplateSchema = Type.Object(
  {
    type: Type.String({ pattern: DEVICE_ID_PATTERN, description: 'device type of what comes in' }),
    attribute: Type.Union([Type.Literal('CN'), Type.Literal('serialNumber')], {
      default: 'CN',
      description: 'subject attribute that names the device; 802.1AR puts it into serialNumber',
    }),
    subjectPattern: Type.Unsafe<string>({
      ...OneIdSchema,
      default: PLACEHOLDER,
      description:
        'what that attribute must look like, for instance SN-{id}: {id} is what names the device, the rest is compared letter by letter',
    }),
    deviceId: Type.Unsafe<string>({
      ...OneIdSchema,
      default: PLACEHOLDER,
      description: 'the device id made of it, for instance pump-{id}',
    }),
    labels: Type.Record(Type.String({ minLength: 1, maxLength: 64 }), Type.String({ maxLength: LABEL_VALUE_CHARS_MAX }), {
      default: {},
      maxProperties: 32,
      description: `labels; {id} and {${SUBJECT_ATTRIBUTES.join('} {')}} stand for what the certificate says`,
    }),
  },
  { additionalProperties: false },
)
export type FactoryTemplate = Static<typeof FactoryTemplateSchema>

/** A subject as Node reads it: several values of one attribute come as a list. */
export type Subject = Readonly<Record<string, unknown>>

/** Node's names of the attributes. */
function attributeOf(subject: Subject, name: string): string | undefined {
  const value = Object.hasOwn(subject, name) ? subject[name] : undefined
  return typeof value === 'string' ? value : undefined
}

/** The device id that a template makes of a subject; undefined when it does not fit. */
export function deviceIdOf(
  template: Pick<FactoryTemplate, 'attribute' | 'subjectPattern' | 'deviceId'>,
  subject: Subject,
): string | undefined {
  const text = attributeOf(subject, template.attribute)
  if (text === undefined) return undefined
  const id = between(text, template.subjectPattern)
  if (id === undefined) return undefined
  const device = template.deviceId.replace(PLACEHOLDER, () => id)
  return isDeviceId(device) ? device : undefined
}

/** The labels that a template makes of a subject that fits; what the subject lacks is left empty, what is too long is cut. */
export function labelsOf(template: FactoryTemplate, subject: Subject): Record<string, string> {
  const id = between(attributeOf(subject, template.attribute) ?? '', template.subjectPattern) ?? ''
  const values = new Map([['id', id], ...SUBJECT_ATTRIBUTES.map((name) => [name, attributeOf(subject, name) ?? ''] as const)])
  const fill = (text: string): string => text.replace(/\{(\w+)\}/g, (whole, name: string) => values.get(name) ?? whole)
  return Object.fromEntries(Object.entries(template.labels).map(([name, text]) => [name, fill(text).slice(0, LABEL_VALUE_CHARS_MAX)]))
}

function between(text: string, pattern: string): string | undefined {
  const at = pattern.indexOf(PLACEHOLDER)
  const [before, after] = [pattern.slice(0, at), pattern.slice(at + PLACEHOLDER.length)]
  if (text.length <= before.length + after.length || !text.startsWith(before) || !text.endsWith(after)) return undefined
  return text.slice(before.length, text.length - after.length)
}
