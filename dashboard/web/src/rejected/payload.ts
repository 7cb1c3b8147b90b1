/** Bytes shown as a hex dump at most. */
const HEX_BYTES_MAX = 512

/** A payload as a device sent it: as text where it is UTF-8, else as hex. Always shown as text, never as markup. */
export function payloadText(base64: string): string {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    const hex = Array.from(bytes.subarray(0, HEX_BYTES_MAX), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
    return bytes.length > HEX_BYTES_MAX ? `${hex} …` : hex
  }
}
