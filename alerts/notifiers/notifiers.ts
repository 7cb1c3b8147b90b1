import { describeError, InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { maskSecrets } from '../../kernel/mask.ts'
import { kindOf, type EndpointDocument } from '../webhooks/webhook-documents.ts'
import { plainText, withAuthor, type Notice } from './notice.ts'
import type { Notifier, NotifierKind } from './notifier.ts'
import { renderTemplate } from './template.ts'

export interface WrittenNotice {
  body: string
  /** Why the template did not become the text; null: it did, or there is none. */
  templateError: string | null
}

/** The notifiers by kind, and how a notice becomes what an endpoint is sent. */
export class Notifiers {
  readonly #byKind: ReadonlyMap<NotifierKind, Notifier>
  readonly #log: Logger
  readonly #bodyBytesMax: number

  constructor(options: { notifiers: readonly Notifier[]; log: Logger; config: { bodyBytesMax: number } }) {
    this.#byKind = new Map(options.notifiers.map((notifier) => [notifier.kind, notifier]))
    this.#log = options.log
    this.#bodyBytesMax = options.config.bodyBytesMax
  }

  of(kind: NotifierKind): Notifier {
    const notifier = this.#byKind.get(kind)
    if (notifier === undefined) throw new InternalError(`there is no notifier ${kind}`)
    return notifier
  }

  /** A template that errs becomes the plain text, and is reported: nobody goes without a notice for it. */
  write(endpoint: EndpointDocument, notice: Notice): WrittenNotice {
    const { text, templateError } = this.#textFor(endpoint, notice)
    const notifier = this.of(kindOf(endpoint))
    const bodyOf = (told: Notice): string => maskSecrets(notifier.bodyOf(told, text))
    const body = bodyOf(notice)
    return { body: Buffer.byteLength(body) <= this.#bodyBytesMax ? body : bodyOf(shortened(notice)), templateError }
  }

  async close(): Promise<void> {
    for (const notifier of this.#byKind.values()) await notifier.close()
  }

  #textFor(endpoint: EndpointDocument, notice: Notice): { text: string; templateError: string | null } {
    const template = endpoint.template ?? null
    if (template === null) return { text: plainText(notice), templateError: null }
    try {
      return { text: withAuthor(renderTemplate(template, notice), notice), templateError: null }
    } catch (error) {
      const templateError = describeError(error)
      this.#log.warn(
        { endpoint: endpoint.id, change: notice.changeId, error: templateError },
        'the template of an endpoint erred; it gets the plain text',
      )
      return { text: plainText(notice), templateError }
    }
  }
}

/** Without what grows: the explanation of an alert, what a digest says beyond its headline. */
function shortened(notice: Notice): Notice {
  const { alert, digest } = notice
  if (digest !== null) return { ...notice, digest: { ...digest, sections: [], evidence: [], isWhole: false } }
  return alert === null ? notice : { ...notice, alert: { ...alert, explanation: null } }
}
