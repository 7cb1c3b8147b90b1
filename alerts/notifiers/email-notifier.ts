import { createTransport, type Transporter } from 'nodemailer'
import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import type { Clock } from '../../kernel/time.ts'
import type { WebhooksConfig } from '../webhooks/config.ts'
import { subjectOf, type Notice } from './notice.ts'
import { blankAttempt, type Notifier, type Outgoing, type SentAttempt } from './notifier.ts'

const SUBJECT_LENGTH_MAX = 200
/** One address, no list, nothing that ends a header line. */
const ADDRESS = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$/

interface Mail {
  subject: string
  text: string
}

export type SmtpConfig = Pick<
  WebhooksConfig,
  'smtpHost' | 'smtpPort' | 'smtpSecurity' | 'smtpUser' | 'smtpPassword' | 'smtpFrom' | 'connectTimeoutMs' | 'totalTimeoutMs'
>

/** E-mail over SMTP, one message per notice; the delivery's id is its Message-ID, so that mailboxes know repeats. Targets are `mailto:` URLs. */
export class EmailNotifier implements Notifier {
  readonly kind = 'email'
  readonly #config: SmtpConfig
  readonly #clock: Clock
  #transport: Transporter | undefined

  constructor(options: { config: SmtpConfig; clock: Clock }) {
    this.#config = options.config
    this.#clock = options.clock
  }

  checkTarget(url: string): string {
    this.#checkServer()
    const address = /^mailto:(.+)$/i.exec(url)?.[1] ?? ''
    if (!ADDRESS.test(address)) throw invalid('must be mailto: and one address')
    return `mailto:${address}`
  }

  bodyOf(notice: Notice, text: string): string {
    const { severity, title } = subjectOf(notice)
    const [, change = ''] = notice.event.split('.')
    const news = notice.digest === null ? change : `digest ${notice.digest.revision}`
    const lines = Object.entries(notice.labels).filter(([, value]) => value !== '')
    const details = lines.map(([name, value]) => `${name}: ${value}`).join('\n')
    return mail(
      `[${severity}] ${title} — ${news}`,
      `${text}\n\n${details}\n\nat ${new Date(notice.at).toISOString()}, ${notice.changeId}\n`,
    )
  }

  testBody(): string {
    return mail('A test of this endpoint', 'A test of this endpoint.\n')
  }

  async send({ id, url, body, signal }: Outgoing): Promise<SentAttempt> {
    const startMs = this.#clock.monotonicMs()
    const deadline = new AbortController()
    const { totalTimeoutMs } = this.#config
    // Each answer of a server may be in time and all of them together not.
    const timer = this.#clock.after(totalTimeoutMs, () => deadline.abort(new Error(`the try took longer than ${totalTimeoutMs} ms`)))
    const stop = (): void => deadline.abort(new Error('stopped'))
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    const attempt = blankAttempt(url, this.#clock.nowMs())
    try {
      this.#checkServer()
      const { subject, text } = JSON.parse(body) as Mail
      const to = url.slice('mailto:'.length)
      const { smtpFrom: from } = this.#config
      const headers = { 'auto-submitted': 'auto-generated', 'x-fleetpulse-delivery': id }
      const sending = this.#open().sendMail({
        from,
        to,
        subject,
        text,
        headers,
        messageId: `<${id}@${from.split('@').at(-1) ?? 'fleetpulse'}>`,
      })
      const { response = '' } = await Promise.race([sending, aborted(deadline.signal)])
      attempt.status = Number.parseInt(response) || 250
      attempt.responseBody = response
    } catch (error) {
      attempt.error = describeError(error)
      const { responseCode, response } = error as { responseCode?: number; response?: string }
      attempt.status = responseCode ?? null
      attempt.responseBody = response ?? ''
    } finally {
      timer.cancel()
      signal.removeEventListener('abort', stop)
    }
    attempt.durationMs = Math.round(this.#clock.monotonicMs() - startMs)
    return attempt
  }

  async close(): Promise<void> {
    this.#transport?.close()
    this.#transport = undefined
  }

  /** The setting may have gone since the endpoint was made; without a host the library would try this machine. */
  #checkServer(): void {
    if (this.#config.smtpHost === '') throw invalid('e-mail needs the setting webhooks.smtpHost')
  }

  #open(): Transporter {
    const {
      smtpHost: host,
      smtpPort: port,
      smtpSecurity,
      smtpUser: user,
      smtpPassword: pass,
      connectTimeoutMs,
      totalTimeoutMs,
    } = this.#config
    this.#transport ??= createTransport({
      ...{ host, port, secure: smtpSecurity === 'tls', requireTLS: smtpSecurity === 'starttls', ignoreTLS: smtpSecurity === 'none' },
      ...(user === '' ? {} : { auth: { user, pass } }),
      ...{ connectionTimeout: connectTimeoutMs, greetingTimeout: connectTimeoutMs, socketTimeout: totalTimeoutMs },
      ...{ disableFileAccess: true, disableUrlAccess: true },
    })
    return this.#transport
  }
}

function mail(subject: string, text: string): string {
  const one: Mail = { subject: subject.replaceAll(/[\r\n]+/g, ' ').slice(0, SUBJECT_LENGTH_MAX), text }
  return JSON.stringify(one)
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

function invalid(problem: string): InvalidInputError {
  return new InvalidInputError(`url: ${problem}`, { details: { field: 'url' } })
}
