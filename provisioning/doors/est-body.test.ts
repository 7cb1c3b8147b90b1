import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readBasic, readCsrBody } from './est-body.ts'

const PKCS10 = 'application/pkcs10'
const der = Buffer.from('3082010a028201', 'hex')
const base64 = der.toString('base64')

function read(body: string | Uint8Array, transferEncoding?: string, contentType: string | undefined = PKCS10) {
  return readCsrBody({ contentType, transferEncoding, body: Buffer.from(body) })
}

test('base64 with the header and without it, broken anywhere, PEM, and bare DER where it is said or plain', () => {
  const bodies: [string | Uint8Array, string | undefined][] = [
    [base64, undefined],
    [base64, 'base64'],
    [base64, 'BASE64 '],
    [base64, '7bit'],
    [`${base64.slice(0, 3)}\r\n ${base64.slice(3)}\n`, 'base64'],
    [`-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`, undefined],
    [`-----BEGIN NEW CERTIFICATE REQUEST-----\n${base64}\n-----END NEW CERTIFICATE REQUEST-----\n`, undefined],
    [der, 'binary'],
    [der, undefined],
  ]
  for (const [body, encoding] of bodies) assert.deepEqual(read(body, encoding), { status: 'read', der }, String(encoding))
  assert.equal(read(base64, undefined, 'Application/PKCS10; charset=us-ascii').status, 'read')
})

test('what is not that is refused with status and sentence', () => {
  const code = (...args: Parameters<typeof read>): number | undefined => {
    const body = read(...args)
    return body.status === 'refused' ? body.code : undefined
  }
  assert.equal(code(base64, undefined, 'application/json'), 415)
  assert.equal(readCsrBody({ contentType: undefined, transferEncoding: undefined, body: undefined }).status, 'refused')
  assert.equal(code(base64, 'quoted-printable'), 400)
  assert.equal(code(base64, 'base64,base64'), 400)
  assert.equal(code(der, 'base64'), 400, 'bare DER that is said to be base64')
  assert.equal(code(''), 400)
  assert.equal(code('MII!'), 400)
})

test('any bytes and headers: an answer, never a throw', () => {
  const header = fc.option(fc.oneof(fc.constantFrom('base64', 'binary', '7bit', '', PKCS10), fc.string({ maxLength: 40 })), {
    nil: undefined,
  })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), header, header, (bytes, contentType, transferEncoding) => {
      const read = readCsrBody({ contentType, transferEncoding, body: Buffer.from(bytes) })
      assert.ok(read.status === 'read' || read.detail.length > 10)
      readBasic(contentType)
      readBasic(`Basic ${Buffer.from(bytes).toString('base64')}`)
    }),
    { numRuns: 1_000 },
  )
})

test('basic credentials: the user has no colon, the password may', () => {
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`
  assert.deepEqual(readBasic(basic('d1:a:b')), { user: 'd1', password: 'a:b' })
  for (const header of [undefined, '', 'Basic', 'Bearer x', basic('nocolon'), 'Basic ???']) assert.equal(readBasic(header), undefined)
})
