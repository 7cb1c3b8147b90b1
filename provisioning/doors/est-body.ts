/** A request's body as it should be, or the status and sentence with which it is refused. */
export type CsrBody = { status: 'read'; der: Buffer } | { status: 'refused'; code: 400 | 415; detail: string }

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
/** Of RFC 2045 §6.1 these leave text as it is: with them, or without the header, the body is base64 as EST has it. */
const AS_IT_IS = new Set(['', 'base64', '7bit', '8bit'])
const SEQUENCE = 0x30

/**
 * The certification request in a body: base64 DER (RFC 7030 §4.2.1), white space anywhere (RFC 8951 §3.1), with Content-Transfer-Encoding or
 * without it (RFC 8951 §3.1: it means nothing any more); PEM, which people send by hand; and bare DER where the header says binary, or
 * where the bytes can be nothing else. Whatever the bytes, it answers.
 */
export function readCsrBody(request: { contentType: string | undefined; transferEncoding: string | undefined; body: unknown }): CsrBody {
  const mediaType = (request.contentType ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (mediaType !== 'application/pkcs10') return { status: 'refused', code: 415, detail: 'the content type must be application/pkcs10' }
  const encoding = (request.transferEncoding ?? '').trim().toLowerCase()
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
  if (encoding === 'binary') return { status: 'read', der: body }
  if (!AS_IT_IS.has(encoding)) {
    return { status: 'refused', code: 400, detail: 'the content transfer encoding must be base64 or binary, or not be said' }
  }
  const base64 = body
    .toString('latin1')
    .replace(/-----(?:BEGIN|END) (?:NEW )?CERTIFICATE REQUEST-----/g, '')
    .replace(/\s/g, '')
  if (BASE64.test(base64)) return { status: 'read', der: Buffer.from(base64, 'base64') }
  if (encoding !== 'base64' && body[0] === SEQUENCE) return { status: 'read', der: body }
  return { status: 'refused', code: 400, detail: 'the body is not base64' }
}

/** RFC 7617 §2: the user id has no colon, the password may. Undefined when the header is no such credential. */
export function readBasic(header: string | undefined): { user: string; password: string } | undefined {
  const match = /^basic +([A-Za-z0-9+/=]+) *$/i.exec(header ?? '')
  if (match === null) return undefined
  const text = Buffer.from(match[1] as string, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) }
}
