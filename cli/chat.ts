import { Command } from 'commander'
import { CONVERSATION_STATES, type Conversation } from '../contracts/conversation.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { conversationLine } from './chat-print.ts'
import { askOnce, talk, watch } from './chat-talk.ts'
import { duration, instant, wholeNumber } from './options.ts'

interface ChatOptions extends PlatformOptions {
  list?: boolean
  search?: string
  state?: string
  severity?: string
  device?: string
  incident?: string
  participant?: string
  from?: number
  until?: number
  limit: number
  agents?: string[]
  title: string
  message?: string
  discuss?: boolean
  follow?: boolean
  wait: number
  json?: boolean
}

const EXAMPLES = `
Examples:
  fleetpulse chat --list --search pump --severity critical
  fleetpulse chat --list --device pump-1 --from 2026-11-21T00:00:00Z
  fleetpulse chat 01kb… --message "What should I check?"
  fleetpulse chat 01kb…          (interactive: each line is a question; /say, /state, /recheck, /rate, /evidence, /who, /leave, /end)
  fleetpulse chat 01kb… --follow (shows it live and says nothing)
  fleetpulse chat --agents triage,reporter --title "Night shift"
`

export function chatCommand(): Command {
  return new Command('chat')
    .description('Talk with the agents: begin a conversation or take part in one, live; or look through past ones')
    .argument('[conversation]', 'one that there is, for instance that of an incident (by its id)')
    .option('--list', 'list conversations, newest first')
    .option('--search <words>', 'with --list: words of the title or of what was said')
    .option('--state <state>', `with --list: only those in this state (${CONVERSATION_STATES.join(', ')})`)
    .option('--severity <severity>', 'with --list: warning or critical')
    .option('--device <id>', 'with --list: only those about incidents with an alert of this device')
    .option('--incident <id>', 'with --list: only the one about this incident')
    .option('--participant <id>', 'with --list: only those with agent:ID or user:NAME')
    .option('--from <time>', 'with --list: begun at this time or later, epoch ms or RFC 3339', instant)
    .option('--until <time>', 'with --list: begun before this time', instant)
    .option('--limit <n>', 'with --list: how many', wholeNumber(1, 10_000), 20)
    .option('--agents <ids>', 'begin one with these agents, a comma list; the first speaks first', (text) =>
      text.split(',').map((id) => id.trim()),
    )
    .option('--title <text>', 'its title', 'Chat')
    .option('--discuss', 'the agents talk in turn; otherwise they answer')
    .option('--message <text>', 'ask this, wait for the answer, and end')
    .option('--follow', 'show what is said until it ends, and say nothing')
    .option('--wait <time>', 'longest wait for an answer', duration, 60_000)
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'one line of JSON per message or conversation')
    .addHelpText('after', EXAMPLES)
    .action(chat)
}

async function chat(id: string | undefined, options: ChatOptions): Promise<void> {
  const api = ApiClient.find(options)
  const { message, wait, json = false } = options
  try {
    if (options.list === true) return await list(api, options)
    if ((id === undefined) === (options.agents === undefined))
      throw new InvalidInputError('name a conversation, or begin one with --agents; --list shows those that there are')
    const conversation =
      id === undefined ? await begin(api, options) : await api.get<Conversation>(`/conversations/${encodeURIComponent(id)}`)
    if (options.follow === true) await watch(api, conversation.id, { wait, json })
    else if (message !== undefined) await askOnce(api, conversation.id, message, { wait, json })
    else await talk(api, conversation.id, { wait, json })
  } finally {
    await api.close()
  }
}

const PAGE_ITEMS_MAX = 100

async function list(
  api: ApiClient,
  { limit, json, search, state, severity, device, incident, participant, from, until }: ChatOptions,
): Promise<void> {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries({ search, state, severity, device, incident, participant, from, until }))
    if (value !== undefined) query.set(name, String(value))
  let left = limit
  for (let cursor: string | null | undefined; left > 0 && cursor !== null;) {
    query.set('limit', String(Math.min(left, PAGE_ITEMS_MAX)))
    if (cursor !== undefined) query.set('cursor', cursor)
    const page = await api.get<{ items: Conversation[]; next: string | null }>(`/conversations?${query.toString()}`)
    for (const each of page.items) process.stdout.write(`${json === true ? JSON.stringify(each) : conversationLine(each)}\n`)
    left -= page.items.length
    cursor = page.next
  }
}

function begin(api: ApiClient, { title, agents = [], discuss = false }: ChatOptions): Promise<Conversation> {
  return api.post<Conversation>('/conversations', { title, agents, discuss })
}
