import { randomBytes } from 'node:crypto'

/**
 * A new serial: 128 random bits behind a first byte of 01, in upper-case hex as openssl prints it. So it is positive and never begins
 * with a zero byte, has one written form only, and at 17 octets keeps below the 20 allowed. RFC 5280 §4.1.2.2
 */
export function newSerial(): string {
  return `01${randomBytes(16).toString('hex').toUpperCase()}`
}
