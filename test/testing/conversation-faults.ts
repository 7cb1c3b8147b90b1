import type { Alert } from '../../contracts/alert.ts'
import type { Conversation, Message } from '../../contracts/conversation.ts'
import type { Incident } from '../../contracts/incident.ts'
import { until } from './platform-process.ts'

/** Where the API is asked. */
interface ApiView {
  get<T>(path: string): Promise<T>
}

export interface Conversed {
  /** Incidents that were to be talked about. */
  incidents: number
  digests: number
  /** How the conversations went whose first digest took longest, slowest first. */
  slowest: string[]
  /** What is not as it must be. */
  faults: string[]
}

const DONE = new Set(['published', 'human-active', 'closed'])
const PAGE_ITEMS = 200
const SLOWEST_SHOWN = 3

/** Waits until every incident's conversation came to an end or to its digest; then looks whether anything was said twice, or too late. */
export async function conversationFaults(api: ApiView, devices: readonly string[], timeoutMs: number): Promise<Conversed> {
  const alerts = await until(
    'an alert of each device that went wrong',
    async () => {
      const found = await Promise.all(
        devices.map(async (device) => (await api.get<{ items: Alert[] }>(`/alerts?device=${device}&limit=${PAGE_ITEMS}`)).items),
      )
      return found.every((each) => each.some(({ incident }) => incident !== null)) && found.flat()
    },
    timeoutMs,
  )
  let talks: Conversation[] = []
  let unsettled: string[] = []
  const incidents = await until(
    () => `each incident to be talked about: ${unsettled.join('; ')}`,
    async () => {
      const open = (await everything<Incident>(api, '/incidents?')).filter(({ announced, state }) => announced && state !== 'resolved')
      // What agents talk about of their own accord ends when its time is over, and has no digest.
      talks = (await everything<Conversation>(api, '/conversations?')).filter(({ incidentId }) => incidentId !== null)
      const states = new Map(talks.map(({ id, state }) => [id, state]))
      unsettled = [
        ...open.filter(({ id }) => !states.has(id)).map(({ id, title }) => `${title} (${id}) has no conversation`),
        ...talks.filter(({ state }) => !DONE.has(state)).map((talk) => JSON.stringify(talk)),
      ]
      return unsettled.length === 0 && open
    },
    timeoutMs,
  )
  const faults: string[] = []
  const known = new Set(incidents.map(({ id }) => id))
  for (const { device, incident } of alerts) if (!known.has(incident?.id ?? '')) faults.push(`${device} has no incident that stands`)
  let digests = 0
  const courses: { ms: number; course: string }[] = []
  for (const talk of talks) {
    const said = (await api.get<{ items: Message[] }>(`/conversations/${talk.id}/messages?limit=${PAGE_ITEMS}`)).items
    digests += said.filter(({ kind }) => kind === 'digest').length
    const first = said.find(({ kind }) => kind === 'digest')
    courses.push({ ms: (first?.at ?? Infinity) - talk.createdAt, course: `${talk.title}: ${courseOf(talk, said)}` })
    faults.push(...faultsOf(talk, said).map((fault) => `${talk.title}: ${fault}`))
  }
  const slowest = courses.toSorted((a, b) => b.ms - a.ms).slice(0, SLOWEST_SHOWN)
  return { incidents: incidents.length, digests, slowest: slowest.map(({ course }) => course), faults }
}

function faultsOf(talk: Conversation, said: readonly Message[]): string[] {
  const faults: string[] = []
  said.forEach(({ seq, floorEpoch, id }, i) => {
    if (seq !== i + 1) faults.push(`message ${i + 1} has place ${seq}`)
    if (floorEpoch <= (said[i - 1]?.floorEpoch ?? 0)) faults.push(`message ${id} was said with a floor that was over`)
  })
  const digests = said.filter(({ kind }) => kind === 'digest')
  if (digests.length !== talk.revision) faults.push(`${digests.length} digests are ${talk.revision} revisions`)
  if (talk.revision === 0 && talk.terminationReason !== 'alert_resolved')
    faults.push(`it ended without a digest: ${talk.terminationReason}`)
  const openings = said.filter(({ from }) => from === 'agent:triage').length
  if (openings > talk.round) faults.push(`triage opened ${openings} times in ${talk.round} rounds`)
  return faults
}

/** When what was said: whoever reads of a fault sees where the time went. */
function courseOf({ createdAt, terminatedAt, round }: Conversation, said: readonly Message[]): string {
  const spoken = said.map(({ from, at }) => `${from} after ${at - createdAt} ms`)
  const end = terminatedAt === null ? 'not over' : `over after ${terminatedAt - createdAt} ms`
  return `opened ${new Date(createdAt).toISOString()}, round ${round}: ${[...spoken, end].join(', ')}`
}

async function everything<T>(api: ApiView, path: string): Promise<T[]> {
  const all: T[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: { items: T[]; next: string | null } = await api.get(
      `${path}limit=${PAGE_ITEMS}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    )
    all.push(...page.items)
    cursor = page.next
  }
  return all
}
