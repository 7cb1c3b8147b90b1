import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'
import { systemClock } from './time.ts'
import { newWebhookSecret, signatureHeaders } from './webhook-signature.ts'

const body = '{"type":"alert.opened","data":{"title":"Übertemperatur"}}'

describe('webhook signature', () => {
  const secret = newWebhookSecret()
  const headers = signatureHeaders({ id: 'msg_1', nowMs: systemClock.nowMs(), body, secrets: [secret] })

  it('is accepted by the public verifier', () => {
    assert.deepEqual(new Webhook(secret.reveal()).verify(body, headers), JSON.parse(body))
  })

  it('is refused when anything was tampered with', () => {
    const verifier = new Webhook(secret.reveal())
    const refused = (changed: Record<string, string>, text = body): void => {
      assert.throws(() => verifier.verify(text, { ...headers, ...changed }), WebhookVerificationError)
    }
    refused({}, body.replace('opened', 'closed'))
    refused({ 'webhook-id': 'msg_2' })
    refused({ 'webhook-timestamp': String(Number(headers['webhook-timestamp']) + 1) })
    refused({ 'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}` })
    assert.throws(() => new Webhook(newWebhookSecret().reveal()).verify(body, headers), WebhookVerificationError)
  })

  it('is refused when it is stale or from the future', () => {
    for (const shiftMs of [-6 * 60_000, 6 * 60_000]) {
      const shifted = signatureHeaders({ id: 'msg_1', nowMs: systemClock.nowMs() + shiftMs, body, secrets: [secret] })
      assert.throws(() => new Webhook(secret.reveal()).verify(body, shifted), WebhookVerificationError)
    }
  })

  it('serves the old and the new secret while one replaces the other', () => {
    const other = newWebhookSecret()
    const both = signatureHeaders({ id: 'msg_1', nowMs: systemClock.nowMs(), body, secrets: [other, secret] })
    for (const each of [secret, other]) new Webhook(each.reveal()).verify(body, both)
  })

  it('makes secrets that never print', () => {
    assert.match(secret.reveal(), /^whsec_[A-Za-z0-9+/]{43}=$/)
    assert.ok(!`${String(secret)}${JSON.stringify({ secret })}${inspect({ secret })}`.includes(secret.reveal()))
  })
})
