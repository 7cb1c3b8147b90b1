import { createHmac, randomBytes } from 'node:crypto'
import { Secret } from './secret.ts'

const PREFIX = 'whsec_'
/** Bytes of a new secret; Standard Webhooks asks for 24 to 64. */
const SECRET_BYTES = 32

export function newWebhookSecret(): Secret {
  return new Secret(PREFIX + randomBytes(SECRET_BYTES).toString('base64'))
}

/**
 * Headers of Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp` in seconds, and `webhook-signature`, one `v1` HMAC-SHA256 over
 * `id.timestamp.body` per valid secret, so that receivers can change secrets without a gap.
 */
export function signatureHeaders(options: { id: string; nowMs: number; body: string; secrets: readonly Secret[] }): Record<string, string> {
  const timestamp = String(Math.floor(options.nowMs / 1_000))
  const content = `${options.id}.${timestamp}.${options.body}`
  const signatures = options.secrets.map((secret) => {
    const key = Buffer.from(secret.reveal().slice(PREFIX.length), 'base64')
    return `v1,${createHmac('sha256', key).update(content).digest('base64')}`
  })
  return { 'webhook-id': options.id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}
