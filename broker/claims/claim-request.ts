import { Type } from 'typebox'
import { utf8Text } from '../../kernel/bytes.ts'
import { describeError } from '../../kernel/errors.ts'
import { compileSchema } from '../../kernel/schema.ts'

/** Longest payload of a request, in bytes: a request of an RSA 4096 key as PEM takes 2 KB. */
export const CLAIM_REQUEST_BYTES_MAX = 16_384

const RequestSchema = Type.Object(
  {
    device: Type.String({ minLength: 1, maxLength: 64 }),
    /** PKCS#10: PEM, or its DER in base64. */
    csr: Type.String({ minLength: 1, maxLength: CLAIM_REQUEST_BYTES_MAX }),
  },
  { additionalProperties: false },
)
const check = compileSchema(RequestSchema)

export type ClaimRequestReading = { status: 'read'; device: string; csrBase64: string } | { status: 'refused'; detail: string }

/** Reads the payload of `provisioning/{id}/request`: `{"device":"pump-1","csr":"-----BEGIN …"}`. Whatever the bytes, it answers. */
export function readClaimRequest(payload: Uint8Array): ClaimRequestReading {
  if (payload.byteLength > CLAIM_REQUEST_BYTES_MAX)
    return { status: 'refused', detail: `the request is longer than ${CLAIM_REQUEST_BYTES_MAX} bytes` }
  let value: unknown
  try {
    value = JSON.parse(utf8Text(payload))
  } catch (error) {
    return { status: 'refused', detail: `the request is no JSON: ${describeError(error).slice(0, 200)}` }
  }
  const checked = check(value)
  if (checked.status === 'invalid') {
    const faults = checked.faults.map(({ path, problem }) => `${path === '' ? 'it' : path} ${problem}`)
    return { status: 'refused', detail: `the request must be {"device","csr"}: ${faults.join('; ').slice(0, 300)}` }
  }
  const { device, csr } = checked.value
  const csrBase64 = csr.replace(/-----(?:BEGIN|END) (?:NEW )?CERTIFICATE REQUEST-----/g, '').replace(/\s/g, '')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(csrBase64)) return { status: 'refused', detail: 'csr is neither PEM nor base64' }
  return { status: 'read', device, csrBase64 }
}
