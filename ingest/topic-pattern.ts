import { isDeviceId, TENANT_PATTERN } from '../contracts/device.ts'

/** What a topic says of a message. */
export type TopicMatch =
  { status: 'matched'; device: string; tenant: string | undefined; type: string | undefined } | { status: 'unmatched'; detail: string }

const NAMES = ['device', 'tenant', 'type'] as const
type LevelName = (typeof NAMES)[number]

const tenantExpression = new RegExp(TENANT_PATTERN)

/** A topic pattern such as `sensors/+/{device}/up`: levels, `+` for any one, `{device}` `{tenant}` `{type}` for what is taken from it, `#` at the end. */
export class TopicPattern {
  /** The filter to subscribe to. */
  readonly filter: string
  readonly #text: string
  readonly #levels: readonly string[]
  readonly #at: Readonly<Record<LevelName, number>>

  private constructor(text: string) {
    this.#text = text
    this.#levels = text.split('/')
    const at = (name: LevelName): number => this.#levels.indexOf(`{${name}}`)
    this.#at = { device: at('device'), tenant: at('tenant'), type: at('type') }
    this.filter = this.#levels.map((level) => (isName(level) ? '+' : level)).join('/')
  }

  /** The pattern, or what is wrong with the text. */
  static parse(text: string): { status: 'valid'; pattern: TopicPattern } | { status: 'invalid'; problem: string } {
    const levels = text.split('/')
    const count = (name: string): number => levels.filter((level) => level === `{${name}}`).length
    if (count('device') !== 1) return invalid('it must have {device} as one of its levels, once')
    if (count('tenant') > 1 || count('type') > 1) return invalid('{tenant} and {type} may each be in it once')
    const odd = levels.find(
      (level, i) => /[{}+#\u0000]/.test(level) && !isName(level) && level !== '+' && !(level === '#' && i === levels.length - 1),
    )
    if (odd !== undefined) return invalid(`the level "${odd}" is neither plain text, "+", {device}, {tenant}, {type} nor a last "#"`)
    if (levels[0]?.startsWith('$')) return invalid('it must not begin with "$": those topics are the broker’s own')
    return { status: 'valid', pattern: new TopicPattern(text) }
  }

  match(topic: string): TopicMatch {
    const levels = topic.split('/')
    const open = this.#levels.at(-1) === '#'
    const fits =
      (open ? levels.length >= this.#levels.length - 1 : levels.length === this.#levels.length) &&
      this.#levels.every((level, i) => level === '#' || level === '+' || isName(level) || level === levels[i])
    if (!fits) return { status: 'unmatched', detail: `the topic does not match mqttDoor.topicPattern ${this.#text}` }
    const of = (name: LevelName): string | undefined => levels[this.#at[name]]
    const [device = '', tenant, type] = [of('device'), of('tenant'), of('type')]
    if (!isDeviceId(device)) return { status: 'unmatched', detail: `"${device.slice(0, 64)}" is no device id` }
    if (tenant !== undefined && !tenantExpression.test(tenant))
      return { status: 'unmatched', detail: `"${tenant.slice(0, 64)}" is no tenant` }
    if (type !== undefined && !isDeviceId(type)) return { status: 'unmatched', detail: `"${type.slice(0, 64)}" is no device type` }
    return { status: 'matched', device, tenant, type }
  }
}

function isName(level: string): boolean {
  return NAMES.some((name) => level === `{${name}}`)
}

function invalid(problem: string): { status: 'invalid'; problem: string } {
  return { status: 'invalid', problem }
}
