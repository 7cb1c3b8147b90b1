import type { FastifyRequest } from 'fastify'
import { InvalidInputError } from '../../kernel/errors.ts'

/** The ETag of a document at a version (RFC 9110 §8.8.3). */
export function etagOf(version: number): string {
  return `"${version}"`
}

/** One entity-tag (RFC 9110 §8.8.3). */
const ENTITY_TAG = /^(W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/
/** No document has it: an ETag that is not ours, or a weak one, never matches (RFC 9110 §13.1.1). */
const NO_VERSION = -1

/** The version that `If-Match` names; undefined without one or for `*`. Throws InvalidInputError for what is not one ETag. */
export function expectedVersion(request: FastifyRequest): number | undefined {
  const header = request.headers['if-match']
  if (header === undefined || header === '*') return undefined
  const version = /^"(\d{1,15})"$/.exec(header)?.[1]
  if (version !== undefined) return Number(version)
  if (ENTITY_TAG.test(header)) return NO_VERSION
  throw new InvalidInputError('If-Match: it must be one ETag that this API answered, or *', { details: { field: 'if-match' } })
}
