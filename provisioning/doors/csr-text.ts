/** First byte of a DER SEQUENCE, which a certification request is. */
const SEQUENCE = 0x30
const PEM_LINES = /-----(?:BEGIN|END) (?:NEW )?CERTIFICATE REQUEST-----/g

/** The DER bytes of a certification request that came as PEM (RFC 7468 §7), base64 or DER; undefined when it is none of these. */
export function csrDerOf(bytes: Uint8Array): Buffer | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const base64 = text.replace(PEM_LINES, '').replace(/\s/g, '')
  if (base64 !== '' && /^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return Buffer.from(base64, 'base64')
  return bytes[0] === SEQUENCE ? Buffer.from(bytes) : undefined
}
