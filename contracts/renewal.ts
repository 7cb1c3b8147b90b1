import { Type, type Static } from 'typebox'

/**
 * What a device is told on `devices/{id}/certificate`, as JSON: `due` when it should renew, and the answer to each request that it makes on
 * `devices/{id}/certificate/renew`. The request is a PKCS#10 request (RFC 2986) as PEM, base64 or DER, or JSON `{"csr": PEM}`.
 */
export const CertificateNoticeSchema = Type.Union([
  Type.Object({
    status: Type.Literal('due'),
    serial: Type.String({ description: 'of the certificate to be renewed, upper-case hex' }),
    notAfter: Type.Integer({ description: 'epoch ms' }),
    lateAt: Type.Integer({ description: 'epoch ms, after which operators are alerted' }),
  }),
  Type.Object({
    status: Type.Literal('issued'),
    serial: Type.String(),
    notAfter: Type.Integer({ description: 'epoch ms' }),
    certificate: Type.String({ description: 'PEM: the leaf, and the CA that issued it' }),
    ca: Type.String({ description: 'PEM: what to trust' }),
  }),
  Type.Object({
    status: Type.Literal('refused'),
    reason: Type.String({ description: 'for programs' }),
    detail: Type.String({ description: 'for people: which rule was broken' }),
  }),
])
export type CertificateNotice = Static<typeof CertificateNoticeSchema>

/** Below `devices/{id}/`: where a device asks, and where it is told. */
export const RENEW_PATH = 'certificate/renew'
export const NOTICE_PATH = 'certificate'
