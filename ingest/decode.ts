import { isUtf8 } from 'node:buffer'
import { utf8Text } from '../kernel/bytes.ts'
import type { Rejection } from './reading-check.ts'

export type Decoded = { status: 'decoded'; body: unknown } | { status: 'rejected'; rejection: Rejection }

/** Decodes a payload as JSON text, which is UTF-8 (RFC 8259 §8.1). */
export function decodeJson(payload: Uint8Array): Decoded {
  if (!isUtf8(payload)) return { status: 'rejected', rejection: { reason: 'undecodable', detail: 'the payload is not UTF-8 text' } }
  try {
    return { status: 'decoded', body: JSON.parse(utf8Text(payload)) as unknown }
  } catch (error) {
    return { status: 'rejected', rejection: { reason: 'undecodable', detail: `the payload is not JSON: ${(error as Error).message.slice(0, 200)}` } }
  }
}
