import type { TSchema } from 'typebox'
import { CONFIG_FILE, environmentName } from '../../app/config.ts'
import { SECTIONS } from '../../app/config-sections.ts'

type Json = Record<string, unknown>

/** What each section is about; a new section does not compile without its sentence. */
const ABOUT: Record<keyof typeof SECTIONS, string> = {
  platform: 'What concerns the whole process: where state lives, what is logged, how long things are kept.',
  telemetry: 'Traces for an OpenTelemetry collector; off, and nothing is sent, while otlpEndpoint is empty.',
  broker: 'The MQTT listeners: addresses, connections, sessions, queues, and the strict packet check in front of the broker.',
  ingest: 'What a reading may be, and how much may wait to become durable.',
  mqttDoor: 'An existing MQTT broker as a door for devices; off while url is empty.',
  processing: 'The loop over readings: batches, flushes, checkpoints, and what is remembered of each device.',
  windows: 'Event-time windows and their lateness.',
  rules: 'Threshold rules on readings and windows: how many, when a change begins to count, and how far a preview looks.',
  anomaly: 'When a reading becomes an anomaly, and when a silent device does.',
  models: "The models that judge a device's metrics together: what calculates, how they are trained, watched and promoted.",
  alerts: 'How anomalies become alerts, and how long alerts are kept.',
  webhooks: 'Where webhooks may go, how they are retried, and how many go at once.',
  agents: 'How long agents talk about an incident, when that ends, and how many do it at a time.',
  evidence: 'How much is looked at of an incident, and for how long.',
  proposals: 'What agents propose: how long it waits for people, and how an approved one is executed.',
  brains: 'Which model may word digests, if any, with which key, and how much it may be asked; see [brains](brains.md).',
  watchdog: 'What watches the platform itself: how often, what is too much, and for how long until it is told or over.',
  proactive: 'What agents look for by themselves: how often, how much at a time, and how much they may begin.',
  memory: 'What agents keep between conversations: how much, and for how long.',
  registry: 'Devices, their types, and what the doors know of them.',
  audit: 'The audit trail: how entries become durable, how its end is signed, and when old entries are cut.',
  posture: 'The nightly security check: when it runs, and from when on something is a weakness.',
  decommission: 'How devices leave: the policy where a request names none, and how long is waited for them.',
  provisioning: 'Certificates, the doors to them, and the two listeners that serve devices and verifiers over HTTP.',
  rotation: 'When device certificates are due for renewal, when they are late, and when what they replaced is revoked.',
  enrolment: 'How devices come in: the pre-provisioning hook, claims, factory CAs, and what EST offers.',
  api: 'The operator API, the page, the live stream and the sockets of conversations.',
  eventLog: 'The embedded event log (LMDB).',
  series: 'The embedded series store (DuckDB).',
  documents: 'The embedded documents store (LMDB); its bounds, and the keys that seal what is confidential, hold for MongoDB too.',
  kafka: 'Apache Kafka as the event log: where it is, how topics are made, and how much waits and for how long.',
  questdb: 'QuestDB as the series store: where it is, how its tables are made, and how long is waited for it.',
  mongodb: 'MongoDB as the documents store: where it is, and how long is waited for it.',
}

/** docs/configuration.md: every setting with its variable, what it may be, its default and what it is for. */
export function configurationPage(): string {
  const sections = Object.entries(SECTIONS).map(([name, schema]) => sectionOf(name as keyof typeof SECTIONS, schema))
  return `${INTRODUCTION}\n${sections.join('\n')}`
}

const INTRODUCTION = `# Configuration

This page is made from the schemas that check the configuration (\`UPDATE_DOCS=1 node test/run.mjs configuration-page\`); a test keeps both equal.

Nothing has to be configured. A setting comes from, in this order:

1. an environment variable (column *Variable*),
2. \`${CONFIG_FILE}\` in the working folder, or the file named with \`--config FILE\`: one object per section,
3. its default.

\`fleetpulse start --validate\` checks everything and exits. Every fault is named at once (key, value, what is allowed) and the exit code is 2.
Unknown keys and unknown sections are faults. An empty variable counts as not set. A list in a variable is separated by commas or written as JSON.

\`\`\`json
{
  "platform": { "dataDirectory": "/var/lib/fleetpulse" },
  "api": { "host": "127.0.0.1", "port": 9000 },
  "provisioning": { "serverNames": ["telemetry.example.com"] }
}
\`\`\`

Three variables are no settings: \`FLEETPULSE_TOKEN\` is the bearer token that commands send (without it \`<data>/admin-token\` is read),
\`FLEETPULSE_DEBUG\` makes a failing command print the stack of an unexpected error, and \`FLEETPULSE_SEMI_SPACE_MB\` (1 to 512, default 32) is
the memory for young objects of each busy thread, in MiB, three times over: 128 takes a quarter off the processor time of 100 000 devices.
`

function sectionOf(name: keyof typeof SECTIONS, schema: TSchema): string {
  const rows = settingsOf(schema, []).map(({ path, setting }) => {
    const cells = [
      `\`${path.join('.')}\``,
      `\`${environmentName(name, path.join('_'), setting)}\``,
      typeOf(setting as Json),
      defaultOf(setting as Json),
      String((setting as Json).description ?? ''),
    ]
    return `| ${cells.map(cell).join(' | ')} |`
  })
  return `## ${name}\n\n${ABOUT[name]}\n\n| Key | Variable | May be | Default | What it is |\n|---|---|---|---|---|\n${rows.join('\n')}\n`
}

function settingsOf(schema: TSchema, path: readonly string[]): { path: string[]; setting: TSchema }[] {
  const { properties } = schema as unknown as { properties: Record<string, TSchema> }
  return Object.entries(properties).flatMap(([key, setting]) => {
    const here = [...path, key]
    return 'properties' in setting ? settingsOf(setting, here) : [{ path: here, setting }]
  })
}

/** What the setting may be, in words. */
function typeOf(setting: Json): string {
  const alternatives = setting.anyOf as Json[] | undefined
  if (alternatives !== undefined) return alternatives.map(typeOf).join(' or ')
  if ('const' in setting) return `\`${String(setting.const)}\``
  if (Array.isArray(setting.enum)) return setting.enum.map((value) => `\`${String(value)}\``).join(' or ')
  if (setting.type === 'integer' || setting.type === 'number')
    return `${setting.type === 'integer' ? 'whole number' : 'number'}${rangeOf(setting)}`
  if (setting.type === 'boolean') return '`true` or `false`'
  if (setting.type === 'string') return setting.pattern === undefined ? 'text' : `text matching \`${String(setting.pattern)}\``
  if (setting.type === 'array')
    return `list${setting.maxItems === undefined ? '' : ` of up to ${String(setting.maxItems)}`}: ${typeOf(setting.items as Json)}`
  return setting.type === 'null' ? '`null`' : String(setting.type)
}

function rangeOf({ minimum, maximum }: Json): string {
  if (minimum !== undefined && maximum !== undefined) return ` ${String(minimum)} to ${String(maximum)}`
  if (minimum !== undefined) return ` from ${String(minimum)}`
  return maximum === undefined ? '' : ` up to ${String(maximum)}`
}

function defaultOf(setting: Json): string {
  return setting.default === '' ? 'empty' : `\`${JSON.stringify(setting.default)}\``
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
