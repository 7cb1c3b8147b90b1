/**
 * Who may speak, as pure steps over plain data. Names after RFC 8855 (Binary Floor Control Protocol): a request is pending, granted, and
 * then released, or revoked when its lease ran out. The epoch grows with each grant and fences whoever had the floor before: words that
 * carry an older epoch are not taken.
 */

/** How urgent a request is. It jumps that many tickets ahead and no further, so that everybody's wait is bounded. */
export const FLOOR_RANKS = { agent: 0, called: 1, human: 2 } as const
export type FloorRank = (typeof FLOOR_RANKS)[keyof typeof FLOOR_RANKS]

export interface FloorLimits {
  /** Requests waiting at once. */
  requestsMax: number
  /** ms a speaker has. */
  leaseMs: number
  /** Tickets that a request of each rank jumps ahead of older ones. */
  jumpTickets: number
}

export interface FloorRequest<W = unknown> {
  participant: string
  /** Its place in the order of asking. */
  ticket: number
  rank: FloorRank
  at: number
  reason: string
  /** What whoever asked wants to say, where that is known already: granted and said in one step. */
  words: W | null
}

export interface FloorHolder {
  participant: string
  /** Which worker speaks for it. */
  worker: string
  grantedAt: number
  leaseUntil: number
  /** The request that was granted, to be asked again when the lease runs out. */
  rank: FloorRank
  reason: string
}

export interface Floor<W = unknown> {
  epoch: number
  nextTicket: number
  holder: FloorHolder | null
  queue: FloorRequest<W>[]
}

export const EMPTY_FLOOR: Floor<never> = { epoch: 0, nextTicket: 1, holder: null, queue: [] }

export type Requested<W> = { status: 'queued'; floor: Floor<W> } | { status: 'repeated' | 'full' }

/** Asks to speak (RTS). Who waits already, or speaks, does not ask twice; words that wait are not lost to that: they are another request. */
export function request<W>(
  floor: Floor<W>,
  asked: Pick<FloorRequest<W>, 'participant' | 'rank' | 'reason' | 'words'>,
  nowMs: number,
  limits: FloorLimits,
): Requested<W> {
  const waits = floor.queue.some(({ participant, words }) => participant === asked.participant && words === null)
  if (asked.words === null && (waits || floor.holder?.participant === asked.participant)) return { status: 'repeated' }
  if (floor.queue.length >= limits.requestsMax) return { status: 'full' }
  const entry: FloorRequest<W> = { ...asked, ticket: floor.nextTicket, at: nowMs }
  return { status: 'queued', floor: { ...floor, nextTicket: floor.nextTicket + 1, queue: [...floor.queue, entry] } }
}

/** The order in which requests are granted. */
export function inOrder<W>(floor: Floor<W>, limits: Pick<FloorLimits, 'jumpTickets'>): FloorRequest<W>[] {
  const place = ({ ticket, rank }: FloorRequest<W>): number => ticket - rank * limits.jumpTickets
  return floor.queue.toSorted((a, b) => place(a) - place(b) || a.ticket - b.ticket)
}

export type Granted<W> = { status: 'granted'; floor: Floor<W>; request: FloorRequest<W> } | { status: 'busy' | 'empty' }

/** Gives the floor to whoever is next (GTS). */
export function grant<W>(floor: Floor<W>, worker: string, nowMs: number, limits: FloorLimits): Granted<W> {
  if (floor.holder !== null) return { status: 'busy' }
  const [next] = inOrder(floor, limits)
  if (next === undefined) return { status: 'empty' }
  const { participant, rank, reason } = next
  const holder: FloorHolder = { participant, worker, grantedAt: nowMs, leaseUntil: nowMs + limits.leaseMs, rank, reason }
  const queue = floor.queue.filter((entry) => entry !== next)
  return { status: 'granted', request: next, floor: { ...floor, epoch: floor.epoch + 1, holder, queue } }
}

/** Has this participant the floor of this epoch? The lease is not looked at: until somebody revokes it nobody else can have spoken. */
export function holds(floor: Floor, participant: string, epoch: number): boolean {
  return floor.epoch === epoch && floor.holder?.participant === participant
}

/** Gives the floor back; the same floor for one that is another's by now. */
export function release<W>(floor: Floor<W>, participant: string, epoch: number): Floor<W> {
  return holds(floor, participant, epoch) ? { ...floor, holder: null } : floor
}

/** Takes the floor from a speaker whose lease ran out: the old epoch is void, and the request waits again, ahead of the others. */
export function revokeExpired<W>(floor: Floor<W>, nowMs: number): Floor<W> {
  const { holder } = floor
  if (holder === null || holder.leaseUntil > nowMs) return floor
  const { participant, rank, reason } = holder
  const ticket = Math.min(floor.nextTicket, ...floor.queue.map((entry) => entry.ticket)) - 1
  const again: FloorRequest<W> = { participant, rank, reason, ticket, at: nowMs, words: null }
  return { ...floor, epoch: floor.epoch + 1, holder: null, queue: [again, ...floor.queue] }
}

/** Whoever leaves: its requests go, and the floor if it has it. */
export function withdraw<W>(floor: Floor<W>, participant: string): Floor<W> {
  const queue = floor.queue.filter((entry) => entry.participant !== participant)
  const isHolder = floor.holder?.participant === participant
  if (!isHolder && queue.length === floor.queue.length) return floor
  return { ...floor, queue, ...(isHolder ? { holder: null, epoch: floor.epoch + 1 } : {}) }
}

/** Nobody speaks any more. */
export function clear<W>(floor: Floor<W>): Floor<W> {
  if (floor.holder === null && floor.queue.length === 0) return floor
  return { ...floor, epoch: floor.holder === null ? floor.epoch : floor.epoch + 1, holder: null, queue: [] }
}
