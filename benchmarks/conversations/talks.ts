import type { Conversation, Message } from '../../contracts/conversation.ts'
import type { Incident } from '../../contracts/incident.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import type { BenchPlatform } from '../harness/bench-platform.ts'
import { rounded } from '../harness/figures.ts'

const PAGE_ITEMS = 200
const LOOK_EVERY_MS = 1_000

/** What was said about one incident, by the clock of this machine, epoch ms. */
export interface Talk {
  incident: Incident
  /** When the agents took the incident from the log; null: they did not. */
  takenAt: number | null
  /** When the first agent had had its say: after the first change of its state. */
  firstWordsAt: number | null
  /** When each revision of the digest was out. */
  digestsAt: number[]
  conversation: Conversation | null
}

export async function talks(platform: BenchPlatform): Promise<Talk[]> {
  const incidents = await everything<Incident>(platform, '/incidents?')
  const conversations = new Map((await everything<Conversation>(platform, '/conversations?')).map((each) => [each.id, each]))
  const found: Talk[] = []
  for (const incident of incidents) {
    const conversation = conversations.get(incident.id) ?? null
    const said = conversation === null ? [] : await messagesOf(platform, incident.id)
    const digestsAt = said.filter(({ kind }) => kind === 'digest').map(({ at }) => at)
    found.push({ incident, takenAt: conversation?.createdAt ?? null, firstWordsAt: said[0]?.at ?? null, digestsAt, conversation })
  }
  return found
}

/** Waits until each of these devices has an incident with a digest, or the time is over. */
export async function digested(platform: BenchPlatform, devices: ReadonlySet<string>, timeoutMs: number): Promise<Talk[]> {
  const deadlineMs = systemClock.monotonicMs() + timeoutMs
  for (;;) {
    const found = (await talks(platform)).filter(({ incident }) => devices.has(incident.device ?? ''))
    const isDone = found.filter(({ digestsAt }) => digestsAt.length > 0).length >= devices.size
    if (isDone || systemClock.monotonicMs() > deadlineMs) return found
    await sleep(systemClock, LOOK_EVERY_MS)
  }
}

/** Waits until agents are done with what detectors found in the load as it began, or the time is over. */
export async function calm(platform: BenchPlatform, timeoutMs: number): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + timeoutMs
  for (;;) {
    const conversations = await everything<Conversation>(platform, '/conversations?')
    if (conversations.every(({ state }) => state === 'published' || state === 'closed') || systemClock.monotonicMs() > deadlineMs) return
    await sleep(systemClock, LOOK_EVERY_MS)
  }
}

/** Percentiles of what is there. */
export function spread(values: readonly (number | null)[]): { count: number; p50: number | null; p99: number | null; max: number | null } {
  const sorted = values.filter((value) => value !== null).toSorted((a, b) => a - b)
  const at = (share: number): number | null =>
    sorted.length === 0 ? null : rounded(sorted[Math.ceil(share * sorted.length) - 1] as number)
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}

async function messagesOf(platform: BenchPlatform, id: string): Promise<Message[]> {
  return (await platform.process.get<{ items: Message[] }>(`/conversations/${id}/messages?limit=${PAGE_ITEMS}`)).items
}

async function everything<T>(platform: BenchPlatform, path: string): Promise<T[]> {
  const all: T[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const rest = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page: { items: T[]; next: string | null } = await platform.process.get(`${path}limit=${PAGE_ITEMS}${rest}`)
    all.push(...page.items)
    cursor = page.next
  }
  return all
}
