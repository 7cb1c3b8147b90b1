import { InvalidInputError } from '../../kernel/errors.ts'
import type { LogMessage } from './event-log.ts'
import {
  HEADER_NAME_CHARACTERS_MAX,
  HEADER_PREFIX_BYTES,
  HEADER_VALUE_CHARACTERS_MAX,
  HEADERS_MAX,
  KEY_CHARACTERS_MAX,
  MESSAGE_PREFIX_BYTES,
  SCHEMA_CHARACTERS_MAX,
  UTF8_BYTES_PER_UNIT,
} from './entry-layout.ts'

/** Most bytes that the message can take inside an entry. Throws InvalidInputError for a message that no entry may hold. */
export function checkedMessageBytes(message: LogMessage, messageBytesMax: number): number {
  const { key, schema, value, headers } = message
  if (key.length > KEY_CHARACTERS_MAX) throw tooLong('key', key.length, KEY_CHARACTERS_MAX)
  if (schema.length > SCHEMA_CHARACTERS_MAX) throw tooLong('schema name', schema.length, SCHEMA_CHARACTERS_MAX)
  let bytes = MESSAGE_PREFIX_BYTES + key.length * UTF8_BYTES_PER_UNIT + value.byteLength
  if (headers !== undefined) bytes += headerBytes(headers)
  if (bytes > messageBytesMax) {
    throw new InvalidInputError(`a message of ${bytes} bytes is larger than messageBytesMax (${messageBytesMax})`, {
      remedy: 'Send less in one message or raise messageBytesMax of the event log.',
    })
  }
  return bytes
}

function headerBytes(headers: Readonly<Record<string, string>>): number {
  let bytes = 4
  let count = 0
  for (const name in headers) {
    const value = headers[name]!
    if (name.length > HEADER_NAME_CHARACTERS_MAX) throw tooLong('header name', name.length, HEADER_NAME_CHARACTERS_MAX)
    if (value.length > HEADER_VALUE_CHARACTERS_MAX) throw tooLong('header value', value.length, HEADER_VALUE_CHARACTERS_MAX)
    bytes += HEADER_PREFIX_BYTES + (name.length + value.length) * UTF8_BYTES_PER_UNIT
    count++
  }
  if (count > HEADERS_MAX) throw new InvalidInputError(`a message has ${count} headers; at most ${HEADERS_MAX} are allowed`)
  return bytes
}

function tooLong(what: string, characters: number, charactersMax: number): InvalidInputError {
  return new InvalidInputError(`the ${what} of a message has ${characters} characters; at most ${charactersMax} are allowed`)
}
