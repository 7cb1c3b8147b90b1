import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

const SECRET_BYTES = 32

/** `fpk`: API key; `fpr`: refresh token; `fps`: cookie of a browser's session. The prefix lets scanners and our own mask find a leaked one. */
export type SecretKind = 'fpk' | 'fpr' | 'fps'

/** A bearer secret names the document that knows its hash, so that it is found by one read. */
export interface BearerSecret {
  id: string
  /** SHA-256 of the whole text, hex: what is stored. 32 random bytes need no slower hash. */
  hash: string
}

/** A new secret for this document; `text` is shown once and never stored. */
export function newBearerSecret(kind: SecretKind, id: string): BearerSecret & { text: string } {
  const text = `${kind}_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`
  return { id, hash: sha256(text), text }
}

/** Reads one; undefined for anything else. */
export function parseBearerSecret(kind: SecretKind, text: string): BearerSecret | undefined {
  const id = /^(fp[krs])_([0-9a-z]{26})_[A-Za-z0-9_-]{43}$/.exec(text)
  return id?.[1] === kind && id[2] !== undefined ? { id: id[2], hash: sha256(text) } : undefined
}

/** Compares in a time that tells nothing of where they differ. */
export function isSameText(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(sha256(a)), Buffer.from(sha256(b)))
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
