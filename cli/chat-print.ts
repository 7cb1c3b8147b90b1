import { displayText, tainted } from '../agents/evidence/tainted.ts'
import type { ConversationFrame } from '../contracts/conversation-frame.ts'
import type { Conversation, Message } from '../contracts/conversation.ts'

const LINE_LENGTH_MAX = 4_000

/** Nothing that a terminal would obey. */
export function plain(text: string): string {
  return displayText(tainted(text), LINE_LENGTH_MAX)
}

export function conversationLine(conversation: Conversation): string {
  const { id, state, severity, revision, messageCount, title, createdAt } = conversation
  const digest = revision > 0 ? `, digest ${revision}` : ''
  return `${id}  ${new Date(createdAt).toISOString()}  ${severity.padEnd(8)} ${state.padEnd(12)} ${messageCount} messages, ${figures(conversation)}${digest}  ${plain(title)}`
}

/** What it took, in all rounds. */
function figures({ totalTurns, totalTokens }: Conversation): string {
  return `${totalTurns} turns${totalTokens === 0 ? '' : `, ${totalTokens} tokens`}`
}

/** Says what happens, as it happens: with `json` the messages alone, one line each. */
export class ChatPrinter {
  readonly #json: boolean
  #state = ''
  #speaker: string | null = null

  constructor(options: { json: boolean }) {
    this.#json = options.json
  }

  show(frame: ConversationFrame): void {
    if (frame.type === 'message') this.#message(frame.message)
    else if (this.#json) return
    else if (frame.type === 'conversation') this.#conversation(frame.conversation)
    else if (frame.type === 'floor') this.#floor(frame.speaker)
    else if (frame.type === 'digest') {
      const { revision, label, rating } = frame.digest
      this.#note(
        `digest, revision ${revision}. ${plain(label)}. ${rating === null ? 'Not rated' : `Rated ${rating.stars} of 5, ${plain(rating.verdict)}, by ${plain(rating.by)}`}`,
      )
    }
  }

  #conversation(conversation: Conversation): void {
    const { state, terminationReason, speaker } = conversation
    const end = terminationReason === null ? '' : ` (${terminationReason}), ${figures(conversation)}`
    if (state !== this.#state) this.#note(`${state}${end}`)
    this.#state = state
    this.#floor(speaker)
  }

  #floor(speaker: string | null): void {
    if (speaker !== null && speaker !== this.#speaker) this.#note(`${plain(speaker)} has the floor`)
    this.#speaker = speaker
  }

  #message(message: Message): void {
    if (this.#json) return void process.stdout.write(`${JSON.stringify(message)}\n`)
    const { at, from, to, kind, content, isPrivate } = message
    const who = `${from}${authorNote(message)} ${kind}${to === null ? '' : ` to ${to}`}${isPrivate ? ', private' : ''}`
    const lines = content.split('\n').map((line) => `  ${plain(line)}`)
    process.stdout.write(`${new Date(at).toISOString()} ${plain(who)}\n${lines.join('\n')}\n`)
  }

  #note(text: string): void {
    process.stdout.write(`· ${text}\n`)
  }
}

/** Whose words they are: people's are known by their name, rules' by the digest's label. */
function authorNote({ author: { kind, provider, model }, metadata }: Message): string {
  const tokens = metadata?.tokens ?? null
  return kind === 'model' ? ` (${provider ?? ''}/${model ?? ''}${tokens === null ? '' : `, ${tokens} tokens`})` : ''
}
