import type { FastifyRequest } from 'fastify'
import { InvalidInputError } from '../../kernel/errors.ts'

/** The ETag of a document at a version (RFC 9110 §8.8.3). */
export function etagOf(version: number): string {
  return `"${version}"`
}

/** The version that `If-Match` names; undefined without one or for `*`. Throws InvalidInputError for anything else. */
export function expectedVersion(request: FastifyRequest): number | undefined {
  const header = request.headers['if-match']
  if (header === undefined || header === '*') return undefined
  const version = /^"(\d{1,15})"$/.exec(header)?.[1]
  if (version === undefined) throw new InvalidInputError('If-Match: it must be an ETag that this API answered', { details: { field: 'if-match' } })
  return Number(version)
}
