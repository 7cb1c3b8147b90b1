import { Command } from 'commander'
import { displayText, tainted } from '../agents/evidence/tainted.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { wholeNumber } from './options.ts'

const LINE_LENGTH_MAX = 500
const PAGE = 100

interface DeadLetter {
  id: string
  topic: string
  at: number
  cause: string
  group: string
  state: string
  eventId: string | null
  schema: string
  content: string
}

interface WholeDeadLetter extends DeadLetter {
  key: string
  headers: Record<string, string>
  encoding: 'text' | 'base64'
  sizeBytes: number
}

interface DeadLetterOptions extends PlatformOptions {
  topic?: string
  limit: number
  all?: boolean
  json?: boolean
}

export function deadLettersCommand(): Command {
  const command = new Command('dead-letters')
    .description("Events of the agents' bus that could not be taken: look at them, tell them again")
    .addHelpText('after', '\nExample:\n  fleetpulse dead-letters list --topic agents.messages\n')
  command.addCommand(
    onPlatform(new Command('list').description('What was set aside, with its cause'))
      .option('--topic <topic>', 'of one topic, without its prefix')
      .option('--limit <n>', 'how many', wholeNumber(1, 10_000), 50)
      .addHelpText('after', '\nExample:\n  fleetpulse dead-letters list --limit 10\n')
      .action((options: DeadLetterOptions) => withApi(options, (api) => list(api, options))),
  )
  command.addCommand(
    onPlatform(new Command('show').description('One of them, whole: its headers and its content').argument('<id>', 'as `list` tells it'))
      .addHelpText('after', '\nExample:\n  fleetpulse dead-letters show agents.messages:0-17\n')
      .action((id: string, options: DeadLetterOptions) => withApi(options, (api) => show(api, id, options))),
  )
  command.addCommand(
    onPlatform(
      new Command('replay').description('Tell one again, or all that can be taken and were not').argument('[id]', 'as `list` tells it'),
    )
      .option('--all', 'all of them, oldest first')
      .option('--topic <topic>', 'with --all: of one topic')
      .addHelpText('after', '\nExample:\n  fleetpulse dead-letters replay agents.messages:0-17\n')
      .action((id: string | undefined, options: DeadLetterOptions) => withApi(options, (api) => replay(api, id, options))),
  )
  return command
}

function onPlatform(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'one line of JSON each')
}

async function withApi(options: DeadLetterOptions, act: (api: ApiClient) => Promise<void>): Promise<void> {
  const api = ApiClient.find(options)
  try {
    await act(api)
  } finally {
    await api.close()
  }
}

async function list(api: ApiClient, options: DeadLetterOptions): Promise<void> {
  let left = options.limit
  for await (const letter of lettersOf(api, options.topic, Math.min(PAGE, options.limit))) {
    print(letter, options)
    if (--left === 0) return
  }
}

async function show(api: ApiClient, id: string, options: DeadLetterOptions): Promise<void> {
  const letter = await api.get<WholeDeadLetter>(`/events/dead-letters/${encodeURIComponent(id)}`)
  print(letter, options)
  if (options.json === true) return
  const { key, headers, encoding, content, sizeBytes } = letter
  const lines = [`key: ${key}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), '', ...content.split('\n')]
  for (const line of lines) process.stdout.write(`${displayText(tainted(line), Infinity)}\n`)
  process.stdout.write(`(${sizeBytes} bytes${encoding === 'base64' ? ', in base64' : ''})\n`)
}

async function replay(api: ApiClient, id: string | undefined, options: DeadLetterOptions): Promise<void> {
  if ((id === undefined) === (options.all !== true)) throw new InvalidInputError('name one dead letter, or --all')
  if (id !== undefined) {
    print(await api.post<DeadLetter>(`/events/dead-letters/${encodeURIComponent(id)}/replay`, {}), options)
    return
  }
  const body = options.topic === undefined ? {} : { topic: options.topic }
  const answer = await api.post<{ replayed: number }>('/events/dead-letters/replay', body)
  process.stdout.write(options.json === true ? `${JSON.stringify(answer)}\n` : `${answer.replayed} told again\n`)
}

/** Page by page, as they are asked for. */
async function* lettersOf(api: ApiClient, topic: string | undefined, limit: number): AsyncGenerator<DeadLetter> {
  for (let cursor: string | null = ''; cursor !== null;) {
    const query = new URLSearchParams({
      limit: String(limit),
      ...(topic === undefined ? {} : { topic }),
      ...(cursor === '' ? {} : { cursor }),
    })
    const page: { items: DeadLetter[]; next: string | null } = await api.get(`/events/dead-letters?${query.toString()}`)
    yield* page.items
    cursor = page.next
  }
}

function print(letter: DeadLetter, { json }: DeadLetterOptions): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(letter)}\n`)
    return
  }
  const { id, at, state, group, schema, eventId, cause } = letter
  const line = `${id}  ${new Date(at).toISOString()}  ${state}  ${schema}${eventId === null ? '' : `  ${eventId}`}  by ${group}: ${cause}`
  process.stdout.write(`${displayText(tainted(line), LINE_LENGTH_MAX)}\n`)
}
