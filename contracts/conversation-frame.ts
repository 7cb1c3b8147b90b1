import type { Author, Conversation, Message } from './conversation.ts'

/** What people said of a revision of a digest. */
export interface DigestRating {
  /** 1 to 5. */
  stars: number
  verdict: string
  note: string
  by: string
  /** Epoch ms. */
  at: number
}

/** The newest digest of the incident, in short; the whole of it is at `GET /incidents/ID/digest`. */
export interface DigestNotice {
  incident: string
  /** From 1 without gaps. */
  revision: number
  /** Epoch ms. */
  publishedAt: number
  headline: string
  level: string
  /** Who wrote it, for people and for programs. */
  label: string
  author: Author
  /** Of this revision: a later one begins without. */
  rating: DigestRating | null
}

/**
 * What `GET /api/v1/conversations/ID/socket?afterSeq=N` (WebSocket) sends, each as one text message of JSON. First `conversation`, then every
 * message after `afterSeq` in order, `digest` where there is one, and `caught-up`; from then on whatever happens. Messages come in order of
 * `seq`, none twice and none left out: who connects again with the `seq` of the last one goes on where it was. The others tell the present
 * state, so that what lasted for an instant may be passed over. Clients send nothing: what they do goes through the routes.
 */
export type ConversationFrame =
  | { type: 'conversation'; conversation: Conversation & { version: number } }
  /** Only the floor changed. */
  | { type: 'floor'; speaker: string | null; floorEpoch: number; waiting: string[] }
  | { type: 'message'; message: Message }
  /** A revision, or a rating of it. */
  | { type: 'digest'; digest: DigestNotice }
  /** Everything up to this place was sent. */
  | { type: 'caught-up'; seq: number }

/** Why the server closes a socket (RFC 6455 §7.4.2 leaves 4000–4999 to applications). */
export const SOCKET_CLOSE = {
  /** The platform stops: try again in a while. */
  stopping: 1001,
  /** The client sent something. */
  unexpected: 1008,
  /** The session is over, or the right was taken away. */
  forbidden: 4401,
  /** The conversation is not there any more. */
  gone: 4404,
  /** The client did not take what was sent to it: come back with the last `seq`. */
  tooSlow: 4408,
} as const
