import { createInterface } from 'node:readline'
import type { Conversation } from '../contracts/conversation.ts'
import { ConflictError, FleetpulseError, InvalidInputError } from '../kernel/errors.ts'
import type { ApiClient } from './api-client.ts'
import { plain } from './chat-print.ts'
import type { ReceiptKind } from './chat-receipts.ts'
import { ChatSession } from './chat-session.ts'

export interface TalkOptions {
  /** Longest wait for answers, in ms. */
  wait: number
  json: boolean
}

const HELP = `· each line is a question. /say TEXT, /state TEXT (what you know for sure), /recheck, /rate 1-5 [right|partly|wrong] [NOTE],
· /evidence ID, /who (who takes part, how far they got, what they took), /leave, /end
`

/** Shows what was said and what is said, until it ends. */
export async function watch(api: ApiClient, id: string, { json }: TalkOptions): Promise<void> {
  await withSession(api, id, { json, afterSeq: 0 }, (session) => session.until('its end', () => session.isOver, 0))
}

/** Asks once, and shows what comes until it is answered. Throws TimeoutError when no answer comes. */
export async function askOnce(api: ApiClient, id: string, content: string, { wait, json }: TalkOptions): Promise<void> {
  const { messageCount: afterSeq } = await api.post<Conversation>(`/conversations/${id}/join`, {})
  await withSession(api, id, { json, afterSeq, receipts: receiptKind() }, async (session) => {
    await session.say(content, 'question')
    await session.until('an answer', () => session.isAnswered, wait)
  })
}

/** Takes part: every line of the input is a question or a command. At the end of the input what was asked is waited for. */
export async function talk(api: ApiClient, id: string, { wait, json }: TalkOptions): Promise<void> {
  await api.post<Conversation>(`/conversations/${id}/join`, {})
  await withSession(api, id, { json, afterSeq: 0, receipts: receiptKind() }, async (session) => {
    const lines = createInterface({ input: process.stdin, terminal: false })
    void session
      .until('its end', () => session.isOver, 0)
      .then(
        () => lines.close(),
        () => lines.close(),
      )
    if (process.stdin.isTTY) process.stdout.write(HELP)
    for await (const line of lines) {
      const last = await take(api, id, session, line.trim())
      if (last !== undefined) return session.until('what was said', () => session.isCaughtUp && session.seq >= last.messageCount, wait)
    }
    if (!session.isOver) await session.until('an answer', () => session.isAnswered || session.isOver, wait)
  })
}

/** Whether somebody looks at what is shown. Who only looks on, and does not take part, leaves no mark. */
function receiptKind(): ReceiptKind {
  return process.stdout.isTTY ? 'read' : 'delivered'
}

async function withSession(
  api: ApiClient,
  id: string,
  options: { json: boolean; afterSeq: number; receipts?: ReceiptKind },
  run: (session: ChatSession) => Promise<void>,
): Promise<void> {
  const session = new ChatSession(api, id, options)
  session.start()
  try {
    await run(session)
  } finally {
    await session.stop()
  }
}

/** Does what a line says; answers the conversation where this was the last. What is refused is said, and the next line is taken. */
async function take(api: ApiClient, id: string, session: ChatSession, line: string): Promise<Conversation | undefined> {
  const [, command = '', rest = ''] = /^\/(\w+)\s*(.*)$/.exec(line) ?? []
  try {
    if (line === '') return undefined
    if (command === 'leave' || command === 'end')
      return await api.post<Conversation>(`/conversations/${id}/${command === 'end' ? 'terminate' : 'leave'}`, {})
    if (command === 'say') await session.say(rest, 'message')
    else if (command === 'state') await session.say(rest, 'statement')
    else if (command === 'recheck') await api.post(`/conversations/${id}/recheck`, {})
    else if (command === 'rate') await rate(api, id, rest)
    else if (command === 'evidence') await showEvidence(api, rest)
    else if (command === 'who') await showWho(api, id)
    else if (command === 'help') process.stdout.write(HELP)
    else if (command !== '') throw new InvalidInputError(`there is no command /${command}; /help names them`)
    else await session.say(line, 'question')
  } catch (error) {
    if (!(error instanceof FleetpulseError)) throw error
    process.stderr.write(`! ${plain(error.message)}\n`)
  }
  return undefined
}

/** Rates the newest revision of the digest. */
async function rate(api: ApiClient, id: string, text: string): Promise<void> {
  const [, stars, verdict = 'right', note = ''] = /^([1-5])(?:\s+(right|partly|wrong))?(?:\s+(.*))?$/.exec(text) ?? []
  if (stars === undefined) throw new InvalidInputError('/rate takes 1 to 5, then right, partly or wrong, then a note')
  const { incidentId, revision } = await api.get<Conversation>(`/conversations/${id}`)
  if (incidentId === null || revision === 0) throw new ConflictError('there is no digest to rate')
  await api.post(`/incidents/${incidentId}/feedback`, { revision, stars: Number(stars), verdict, note })
}

async function showWho(api: ApiClient, id: string): Promise<void> {
  const { participants } = await api.get<Conversation>(`/conversations/${id}`)
  for (const { id: who, role, leftAt, deliveredSeq = 0, readSeq = 0, turns = 0, tokens = 0 } of participants) {
    const took = `${turns === 0 ? '' : `, ${turns} turns`}${tokens === 0 ? '' : `, ${tokens} tokens`}`
    process.stdout.write(`· ${plain(who)} (${role})${leftAt === null ? '' : ', left'}: got ${deliveredSeq}, read ${readSeq}${took}\n`)
  }
}

async function showEvidence(api: ApiClient, id: string): Promise<void> {
  const evidence = await api.get<object>(`/evidence/${encodeURIComponent(id)}`)
  const lines = JSON.stringify(evidence, null, 2).split('\n')
  process.stdout.write(lines.map((line) => `· ${line.match(/^ */)?.[0] ?? ''}${plain(line)}\n`).join(''))
}
