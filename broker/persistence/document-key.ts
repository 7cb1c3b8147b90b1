import { createHash } from 'node:crypto'
import { ID_BYTES_MAX } from '../../storage/documents/documents.ts'

/** Left for what is put behind a name: a slash and a number. */
const SUFFIX_BYTES = 32

/** A document id for a client id or topic of any length. The name itself is kept inside the document. */
export function documentKey(name: string): string {
  const fits = name !== '' && Buffer.byteLength(name) <= ID_BYTES_MAX - SUFFIX_BYTES
  return fits ? name : `#${createHash('sha256').update(name).digest('hex')}`
}
