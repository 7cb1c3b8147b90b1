import { Command, Option } from 'commander'
import type { Feedback, FeedbackScope } from '../contracts/feedback.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { instant } from './options.ts'

interface FeedbackOptions extends PlatformOptions {
  cause?: string
  note?: string
  scope?: string
  group?: string
  device?: string
  metric?: string
  from?: number
  to?: number
  verdict?: string
  json?: boolean
}

/** Between two looks at a preview that is under way. */
const LOOK_AGAIN_MS = 250

export function feedbackCommand(): Command {
  const feedback = new Command('feedback')
    .description('Say what an anomaly was, try what that would change, and let detectors go by it')
    .addHelpText('after', '\nExample:\n  fleetpulse feedback reject 4f1c… --cause "valve opened"\n')
  feedback.addCommand(
    onPlatform(new Command('list').description('What people said, newest first').option('--device <id>', 'of one device'))
      .addHelpText('after', '\nExample:\n  fleetpulse feedback list --device pump-1\n')
      .action(list),
  )
  for (const [name, verdict, says] of [
    ['confirm', 'confirmed', 'It was one: its like comes sooner once this is applied'],
    ['reject', 'rejected', 'It was none: its like stays quiet once this is applied'],
  ] as const) {
    feedback.addCommand(
      onPlatform(
        new Command(name)
          .description(says)
          .argument('<anomaly>', 'id of the anomaly')
          .option('--cause <text>', 'what it was')
          .option('--note <text>', 'for the record')
          .addOption(new Option('--scope <scope>', 'whom it is applied to').choices(['device', 'group', 'fleet']).default('device'))
          .option('--group <label=value>', 'with --scope group: the device label that makes the group'),
      )
        .addHelpText('after', `\nExample:\n  fleetpulse feedback ${name} 4f1c… --cause 'valve opened' --scope fleet\n`)
        .action((anomaly: string, options: FeedbackOptions) => judge(anomaly, verdict, options)),
    )
  }
  feedback.addCommand(
    onPlatform(
      new Command('label')
        .description('Say what a range of readings was')
        .requiredOption('--device <id>', 'device')
        .option('--metric <name>', 'one metric; left out: the whole device')
        .requiredOption('--from <time>', 'first event time: epoch ms or RFC 3339', instant)
        .requiredOption('--to <time>', 'last event time', instant)
        .addOption(new Option('--verdict <verdict>', 'what it was').choices(['confirmed', 'rejected']).default('confirmed'))
        .option('--cause <text>', 'what was wrong')
        .option('--note <text>', 'for the record'),
    )
      .addHelpText(
        'after',
        '\nExample:\n  fleetpulse feedback label --device pump-1 --metric flow --from 2026-01-01T00:00:00Z --to 2026-01-01T01:00:00Z --cause leak\n',
      )
      .action(label),
  )
  for (const [step, says] of [
    ['preview', 'Replay stored readings with and without it: alarms removed, true alarms lost, delay added'],
    ['apply', 'Let detectors go by it from their next readings on'],
    ['undo', 'Let detectors no longer go by it'],
    ['withdraw', 'Let it count for nothing any more'],
  ] as const) {
    feedback.addCommand(
      onPlatform(new Command(step).description(says).argument('<id>', 'id of the feedback'))
        .addHelpText('after', `\nExample:\n  fleetpulse feedback ${step} 0199…\n`)
        .action((id: string, options: FeedbackOptions) => move(id, step, options)),
    )
  }
  return feedback
}

function onPlatform(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
}

async function list(options: FeedbackOptions): Promise<void> {
  await withClient(options, async (client) => {
    const { items } = await client.get<{ items: Feedback[] }>(
      `/feedback?limit=100${options.device === undefined ? '' : `&device=${encodeURIComponent(options.device)}`}`,
    )
    process.stdout.write(options.json === true ? `${JSON.stringify({ items })}\n` : items.map(lineOf).join(''))
  })
}

async function judge(anomaly: string, verdict: Feedback['verdict'], options: FeedbackOptions): Promise<void> {
  await withClient(options, async (client) => {
    const { cause, note } = options
    tell(
      await client.post<Feedback>(`/anomalies/${encodeURIComponent(anomaly)}/feedback`, {
        verdict,
        scope: scopeOf(options),
        ...(cause === undefined ? {} : { cause }),
        ...(note === undefined ? {} : { note }),
      }),
      options,
    )
  })
}

async function label(options: FeedbackOptions): Promise<void> {
  await withClient(options, async (client) => {
    const { device, metric, from, to, verdict, cause, note } = options
    tell(
      await client.post<Feedback>('/feedback', {
        device,
        from,
        to,
        verdict,
        ...(metric === undefined ? {} : { metric }),
        ...(cause === undefined ? {} : { cause }),
        ...(note === undefined ? {} : { note }),
      }),
      options,
    )
  })
}

async function move(id: string, step: 'preview' | 'apply' | 'undo' | 'withdraw', options: FeedbackOptions): Promise<void> {
  await withClient(options, async (client) => {
    let feedback = await client.post<Feedback>(`/feedback/${encodeURIComponent(id)}/${step}`, {})
    while (step === 'preview' && feedback.preview?.state === 'running') {
      await sleep(systemClock, LOOK_AGAIN_MS)
      feedback = await client.get<Feedback>(`/feedback/${encodeURIComponent(id)}`)
    }
    tell(feedback, options)
  })
}

function scopeOf({ scope, group }: FeedbackOptions): FeedbackScope {
  if (scope === 'fleet') return { kind: 'fleet' }
  if (scope !== 'group') return { kind: 'device' }
  const [name = '', ...value] = (group ?? '').split('=')
  if (name === '' || value.length === 0) throw new InvalidInputError('--group: name a device label, for instance --group site=north')
  return { kind: 'group', label: name, value: value.join('=') }
}

async function withClient(options: FeedbackOptions, run: (client: ApiClient) => Promise<void>): Promise<void> {
  const client = ApiClient.find(options)
  try {
    await run(client)
  } finally {
    await client.close()
  }
}

function tell(feedback: Feedback, options: FeedbackOptions): void {
  process.stdout.write(options.json === true ? `${JSON.stringify(feedback)}\n` : lineOf(feedback) + previewText(feedback))
}

function lineOf({ id, verdict, state, device, metric, cause, scope }: Feedback): string {
  return `${id}  ${state}  ${verdict}  ${device} ${metric}${cause === '' ? '' : `  ${cause}`}  (${scope.kind})\n`
}

function previewText({ preview }: Feedback): string {
  if (preview === null) return ''
  if (preview.state !== 'done') return `preview: ${preview.state} ${preview.problem}\n`
  const { alarmsBefore, alarmsRemoved, alarmsAdded, trueAlarmsLost, abnormalRanges, delayMs, readings, seriesDone, partial } = preview
  return `over ${readings} readings of ${seriesDone} devices${partial ? ' (not all there are)' : ''}: ${alarmsRemoved} of ${alarmsBefore} alarms removed, ${alarmsAdded} added, ${trueAlarmsLost} of ${abnormalRanges} true alarms lost, ${delayMs} ms of delay added\n`
}
