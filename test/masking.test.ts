import assert from 'node:assert/strict'
import { test } from 'node:test'
import { takeWords } from '../agents/conversation/speaking.ts'
import { exportRequest } from '../app/telemetry/otlp-shape.ts'
import { words } from '../agents/testing/agents-fixture.ts'
import type { ConversationDocument } from '../agents/conversation/conversation-document.ts'
import { Notifiers } from '../alerts/notifiers/notifiers.ts'
import type { Notifier } from '../alerts/notifiers/notifier.ts'
import type { EndpointDocument } from '../alerts/webhooks/webhook-documents.ts'
import type { Notice } from '../alerts/notifiers/notice.ts'
import { describeError, EnvironmentError } from '../kernel/errors.ts'
import { createLogger, silentLogger } from '../kernel/log.ts'
import { maskSecrets } from '../kernel/mask.ts'
import { problem } from '../kernel/problem.ts'
import { deadLetter } from '../storage/event-log/dead-letter.ts'
import type { LogRecord } from '../storage/event-log/event-log.ts'

const body = 'Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4fGh7jKl0n'
const pem = ['-----BEGIN EC PRIVATE KEY-----', 'Proc-Type: 4,ENCRYPTED', body, `${body}==`, '-----END EC PRIVATE KEY-----'].join('\n')
/** Kind, text with a secret, and what of it must not be seen. Put together here, so that no scanner takes this file for a leak. */
const SECRETS: readonly [kind: string, text: string, secret: string][] = [
  ['Anthropic', `sk-${'ant'}-api03-${body}-${body}`, body],
  ['OpenAI', `sk-${body}`, body],
  ['OpenAI project', `sk-${'proj'}-${body}_${body}`, body],
  ['Google', `AIza${'Sy'}${body.slice(0, 33)}`, body.slice(0, 33)],
  ['xAI', `xai-${body}`, body],
  ['Perplexity', `pplx-${body}`, body],
  ['AWS', `AKIA${'IOSFODNN7EXAMPLE'}`, 'IOSFODNN7EXAMPLE'],
  ['GitHub', `ghp_${body.slice(0, 36)}`, body.slice(0, 36)],
  ['JWT', `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.${body}`, body],
  ['bearer', `authorization: Bearer ${body}`, body],
  ['password of an address', `mqtts://edge:${body}@broker.example:8883/x`, body],
  ['private key', pem, body],
  ['webhook secret', `whsec_${body}`, body],
  ['our API key', `fpk_${'01kb5w8v0n7q2m4x6z8a0c2e4g'}_${body}`, body],
  ['our refresh token', `fpr_${'01kb5w8v0n7q2m4x6z8a0c2e4g'}_${body}`, body],
]

/** Whatever leaves the process as text about itself, each as it really goes. */
const WAYS: Readonly<Record<string, (text: string) => string>> = {
  log: (text) => {
    let lines = ''
    const log = createLogger({ level: 'trace', destination: { write: (line) => (lines += line) } })
    log.info({ detail: { deep: [text] }, error: describeError(new Error(text)) }, `said ${text}`)
    log.error(new Error(text), 'with its stack')
    for (const line of lines.trim().split('\n')) JSON.parse(line)
    return lines
  },
  error: (text) => {
    const error = new EnvironmentError('TEST', `failed with ${text}`, { cause: new Error(text) })
    return describeError(error) + JSON.stringify(error) + error.message
  },
  'problem details': (text) => JSON.stringify(problem(500, 'TEST', `failed with ${text}`)),
  'dead letter': (text) => JSON.stringify(deadLetter(record, `cannot take ${text}`).headers),
  message: (text) => {
    const conversation = {
      ...blank,
      participants: [],
      spoken: [],
      recent: [],
      knownEvidence: [],
      knownCauses: [],
    } as unknown as ConversationDocument
    const limits = { similarityThreshold: 0.85, recentMax: 5, knownMax: 10 }
    return JSON.stringify(takeWords(conversation, 'agent:triage', 1, words(`I saw ${text}`), 1, limits))
  },
  span: (text) => {
    const span = {
      name: 'agent.run',
      correlationId: text,
      spanId: '1'.padStart(16, '0'),
      startedAt: 1,
      endedAt: 2,
      attributes: { said: text },
    }
    return JSON.stringify(exportRequest([span], { 'service.name': text }))
  },
  webhook: (text) => {
    const notifier = { kind: 'webhook', bodyOf: () => JSON.stringify({ title: `saw ${text}` }) } as unknown as Notifier
    const notifiers = new Notifiers({ notifiers: [notifier], log: silentLogger, config: { bodyBytesMax: 10_000 } })
    const written = notifiers.write({ id: 'e', template: null, kind: 'webhook' } as unknown as EndpointDocument, notice)
    JSON.parse(written.body)
    return written.body
  },
}

const record = { topic: 't', partition: 0, offset: 1, key: 'k', schema: 's', value: Buffer.from('{}'), headers: {} } as unknown as LogRecord
const blank = { id: 'c', tenant: 't', nextSeq: 1, correlationId: 'x', sequence: 0, outbox: [], unpublishedSince: null }
const notice = {
  event: 'alert.opened',
  at: 1,
  changeId: 'c',
  sequence: 1,
  alert: { title: 'a title', severity: 'warning', explanation: null },
  incident: null,
  digest: null,
} as unknown as Notice

for (const [way, through] of Object.entries(WAYS)) {
  test(`no key, token or password is seen in: ${way}`, () => {
    for (const [kind, text, secret] of SECRETS) {
      const seen = through(text)
      assert.ok(!seen.includes(secret), `${kind}: ${seen}`)
      assert.match(seen, /\[(?:[A-Z_]+|masked)\]/, `${kind} is not shown as masked`)
    }
  })
}

test('text without secrets stays as it is, and JSON stays JSON', () => {
  for (const text of [
    'risk-free task',
    'desk-lamp-with-a-very-long-name-indeed',
    'https://example.com:8080/a@b',
    'basic checks passed',
    'eyJ',
  ])
    assert.equal(maskSecrets(text), text)
  const cut = JSON.stringify({ a: pem.slice(0, -20), b: `"quoted" ${pem}`, c: 1 })
  assert.deepEqual(Object.keys(JSON.parse(maskSecrets(cut)) as object), ['a', 'b', 'c'])
  const hostile = `-----BEGIN PRIVATE KEY-----${'A'.repeat(200_000)}`.repeat(3) + 'a://'.repeat(50_000)
  assert.ok(maskSecrets(hostile).length < hostile.length)
})
