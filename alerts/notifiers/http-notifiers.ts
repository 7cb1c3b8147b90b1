import type { TargetGuard } from '../../kernel/target-guard.ts'
import { Secret } from '../../kernel/secret.ts'
import { signatureHeaders } from '../../kernel/webhook-signature.ts'
import type { WebhookSender } from '../webhooks/webhook-sender.ts'
import { alertmanagerBody, alertmanagerTest } from './alertmanager-body.ts'
import { subjectOf, type Notice } from './notice.ts'
import type { Notifier, NotifierKind, Outgoing, SentAttempt } from './notifier.ts'

interface HttpKind {
  contentType: string
  bodyOf(notice: Notice, text: string): string
  testBody(endpointId: string, nowMs: number): string
  headersOf(outgoing: Outgoing): Record<string, string>
  /** Below the endpoint's URL. */
  path?: string
}

/** What the notice is about, for programs. */
function told({ alert, incident, digest }: Notice): Partial<Pick<Notice, 'alert' | 'incident' | 'digest'>> {
  if (alert !== null) return { alert }
  return digest === null ? { incident } : { incident, digest }
}

const TEST_TEXT = 'A test of this endpoint.'

/** Standard Webhooks 1.0: type, timestamp (ISO 8601) and data; signed. */
const standardWebhooks: HttpKind = {
  contentType: 'application/json',
  bodyOf: (notice, text) => {
    const { event, at, changeId, sequence } = notice
    return JSON.stringify({
      type: event,
      timestamp: new Date(at).toISOString(),
      data: { changeId, sequence, text, ...told(notice) },
    })
  },
  testBody: (endpointId, nowMs) =>
    JSON.stringify({ type: 'webhook.ping', timestamp: new Date(nowMs).toISOString(), data: { endpointId, message: TEST_TEXT } }),
  headersOf: ({ id, nowMs, body, secrets }) => signatureHeaders({ id, nowMs, body, secrets: secrets.map((secret) => new Secret(secret)) }),
}

/** CloudEvents 1.0.2, HTTP binding §3.2 (structured mode), JSON format; signed as Standard Webhooks are. */
const cloudEvents: HttpKind = {
  contentType: 'application/cloudevents+json',
  bodyOf: (notice, text) => {
    const { event, at, changeId, sequence, tenant, correlationId } = notice
    return JSON.stringify({
      specversion: '1.0',
      id: changeId,
      source: `/fleetpulse/${tenant}`,
      type: `io.fleetpulse.${event}`,
      subject: subjectOf(notice).id,
      time: new Date(at).toISOString(),
      datacontenttype: 'application/json',
      correlationid: correlationId,
      data: { sequence, text, ...told(notice) },
    })
  },
  testBody: (endpointId, nowMs) =>
    JSON.stringify({
      specversion: '1.0',
      id: `test-${nowMs}`,
      source: '/fleetpulse',
      type: 'io.fleetpulse.webhook.ping',
      time: new Date(nowMs).toISOString(),
      datacontenttype: 'application/json',
      data: { endpointId, message: TEST_TEXT },
    }),
  headersOf: standardWebhooks.headersOf,
}

/** Slack's incoming webhooks, which Mattermost, Rocket.Chat and others take too: the URL itself is the secret. */
const slack: HttpKind = {
  contentType: 'application/json',
  bodyOf: (notice, text) => {
    const { severity, state } = subjectOf(notice)
    const color = state === 'resolved' ? '#2e7d32' : severity === 'critical' ? '#c62828' : '#ef6c00'
    const fields = Object.entries(notice.labels)
      .filter(([, value]) => value !== '')
      .slice(0, 10)
      .map(([title, value]) => ({ title, value: escapeSlack(value), short: true }))
    return JSON.stringify({
      text: escapeSlack(text),
      attachments: [{ color, fallback: escapeSlack(text), fields, ts: Math.floor(notice.at / 1_000) }],
    })
  },
  testBody: () => JSON.stringify({ text: TEST_TEXT }),
  headersOf: ({ id }) => ({ 'x-fleetpulse-delivery': id }),
}

/** Prometheus Alertmanager, API v2: `POST /api/v2/alerts`. */
const alertmanager: HttpKind = {
  contentType: 'application/json',
  path: 'api/v2/alerts',
  bodyOf: alertmanagerBody,
  testBody: (_endpointId, nowMs) => alertmanagerTest(nowMs),
  headersOf: ({ id }) => ({ 'x-fleetpulse-delivery': id }),
}

const HTTP_KINDS = { 'standard-webhooks': standardWebhooks, cloudevents: cloudEvents, slack, alertmanager } as const satisfies Partial<
  Record<NotifierKind, HttpKind>
>

/** Notifiers that are one HTTP request; they share connections and the guard of targets. */
export function httpNotifiers(options: { guard: TargetGuard; sender: WebhookSender }): Notifier[] {
  return Object.entries(HTTP_KINDS).map(([kind, of]) => new HttpNotifier(kind as NotifierKind, of, options))
}

class HttpNotifier implements Notifier {
  readonly kind: NotifierKind
  readonly #of: HttpKind
  readonly #guard: TargetGuard
  readonly #sender: WebhookSender

  constructor(kind: NotifierKind, of: HttpKind, { guard, sender }: { guard: TargetGuard; sender: WebhookSender }) {
    this.kind = kind
    this.#of = of
    this.#guard = guard
    this.#sender = sender
  }

  checkTarget(url: string): string {
    return this.#guard.checkUrl(url).href
  }
  bodyOf(notice: Notice, text: string): string {
    return this.#of.bodyOf(notice, text)
  }
  testBody(endpointId: string, nowMs: number): string {
    return this.#of.testBody(endpointId, nowMs)
  }
  send(outgoing: Outgoing): Promise<SentAttempt> {
    const { contentType, headersOf, path } = this.#of
    const url = path === undefined ? outgoing.url : below(outgoing.url, path)
    const headers = { ...headersOf(outgoing), 'content-type': contentType }
    return this.#sender.send({ url, body: outgoing.body, headers, signal: outgoing.signal })
  }
  close(): Promise<void> {
    return this.#sender.close()
  }
}

function below(url: string, path: string): string {
  const at = new URL(url)
  if (!at.pathname.endsWith(path)) at.pathname = `${at.pathname.replace(/\/+$/, '')}/${path}`
  return at.href
}

/** Slack reads these three as control characters. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
