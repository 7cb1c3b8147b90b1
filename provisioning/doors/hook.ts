import { readFile } from 'node:fs/promises'
import { Agent, request } from 'undici'
import type { Counter, Histogram } from 'prom-client'
import { Type } from 'typebox'
import { DEVICE_ID_PATTERN } from '../../contracts/device.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { describeError, EnvironmentError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { Secret } from '../../kernel/secret.ts'
import type { Service } from '../../kernel/service.ts'
import { TargetGuard } from '../../kernel/target-guard.ts'
import type { Clock } from '../../kernel/time.ts'
import { signatureHeaders } from '../../kernel/webhook-signature.ts'
import type { EnrolmentConfig } from './config.ts'

/** What the hook is told of a device that wants its first certificate. */
export interface HookQuestion {
  door: string
  tenant: string
  device: string
  /** The type it has, or would get. */
  deviceType: string
  labels: Readonly<Record<string, string>>
  /** SHA-256 of the SubjectPublicKeyInfo that the certificate is for, hex; null where the key is made here. */
  publicKeySha256: string | null
  /** What lets it in: `token`, `claim:ID` or `factory:ID`. */
  credential: string
  /** Address it comes from; null when it is not known. */
  origin: string | null
}

export type HookVerdict =
  | { status: 'allowed'; type?: string; labels?: Record<string, string> }
  /** `reason` is the hook's own sentence, for the device and the record. */
  | { status: 'refused'; reason: string }
  /** It did not answer, or not as it must: the device is refused. `detail` is for the log, not for the device. */
  | { status: 'failed'; detail: string }
  | { status: 'pending'; retryAfterMs: number }

export interface EnrolmentHookOptions {
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

const ANSWER_BYTES_MAX = 16_384
const PENDING_MS_DEFAULT = 60_000

const LabelsSchema = Type.Record(Type.String({ minLength: 1, maxLength: 64 }), Type.String({ maxLength: 256 }), { maxProperties: 32 })

/** What the hook answers, with any 2xx: `allow`, or `pending` to be asked again; unknown fields are refused, for they may have meant something. */
const AnswerSchema = Type.Object(
  {
    allow: Type.Boolean(),
    reason: Type.Optional(Type.String({ maxLength: 512 })),
    type: Type.Optional(Type.String({ pattern: DEVICE_ID_PATTERN })),
    labels: Type.Optional(LabelsSchema),
    pending: Type.Optional(Type.Boolean()),
    retryAfterMs: Type.Optional(Type.Integer({ minimum: 1_000, maximum: 7 * 86_400_000 })),
  },
  { additionalProperties: false },
)
const checkAnswer = compileSchema(AnswerSchema)

/** Reads an answer of the hook; whatever the bytes, it never throws. */
export function readHookAnswer(body: Uint8Array): HookVerdict {
  let value: unknown
  try {
    value = JSON.parse(utf8Text(body))
  } catch (error) {
    return { status: 'failed', detail: `the answer is no JSON: ${describeError(error)}` }
  }
  const checked = checkAnswer(value)
  if (checked.status === 'invalid') {
    const faults = checked.faults.map(({ path, problem }) => `${path === '' ? 'the answer' : path} ${problem}`)
    return { status: 'failed', detail: `the answer is not as it must be: ${faults.join('; ').slice(0, 500)}` }
  }
  const { allow, reason, type, labels, pending, retryAfterMs } = checked.value
  if (!allow && pending === true) return { status: 'pending', retryAfterMs: retryAfterMs ?? PENDING_MS_DEFAULT }
  if (!allow) return { status: 'refused', reason: plainSentence(reason ?? '') }
  return { status: 'allowed', ...(type === undefined ? {} : { type }), ...(labels === undefined ? {} : { labels }) }
}

/** It goes into headers' neighbourhood, logs and the trail: one line of printable text. */
function plainSentence(text: string): string {
  const plain = text.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  return plain === '' ? 'no reason was given' : plain
}

/**
 * The pre-provisioning hook: somebody else's word on whether a device may come in. Signed as Standard Webhooks says; what is not a clear yes
 * within the time is a no. Redirects are not followed: their targets were not checked.
 */
export class EnrolmentHook implements Service {
  readonly name = 'enrolment-hook'
  readonly #options: EnrolmentHookOptions
  readonly #guard: TargetGuard
  readonly #secret: Secret
  readonly #questions: Counter<'outcome'>
  readonly #seconds: Histogram
  #agent: Agent | undefined
  #underway = 0

  constructor(options: EnrolmentHookOptions) {
    const { enrolmentConfig: config, metrics } = options
    this.#options = options
    this.#secret = new Secret(config.hookSecret)
    this.#guard = new TargetGuard({
      rules: {
        allowHttp: config.hookAllowHttp,
        allowPrivateTargets: config.hookAllowPrivateTargets,
        allowedTargets: config.hookAllowedTargets,
      },
    })
    this.#questions = metrics.counter('provisioning_hook_questions_total', 'Questions to the pre-provisioning hook, by outcome.', [
      'outcome',
    ])
    this.#seconds = metrics.histogram(
      'provisioning_hook_seconds',
      'From the question to the pre-provisioning hook to its answer.',
      LATENCY_BUCKETS_S,
    )
  }

  /** Throws EnvironmentError HOOK_CA_UNREADABLE. */
  async start(): Promise<void> {
    const { hookUrl, hookTimeoutMs } = this.#options.enrolmentConfig
    if (hookUrl === '' || this.#agent !== undefined) return
    const ca = await this.#caPem()
    this.#agent = new Agent({
      connect: { lookup: this.#guard.lookup, timeout: hookTimeoutMs, ...(ca === undefined ? {} : { ca }) },
      connections: null,
      pipelining: 1,
      headersTimeout: hookTimeoutMs,
      bodyTimeout: hookTimeoutMs,
    })
  }

  async stop(): Promise<void> {
    await this.#agent?.destroy()
    this.#agent = undefined
  }

  /** Without a configured hook everybody is allowed. Never throws. */
  async ask(question: HookQuestion): Promise<HookVerdict> {
    const { enrolmentConfig: config, clock, log } = this.#options
    if (config.hookUrl === '') return { status: 'allowed' }
    if (this.#underway >= config.hookConcurrencyMax) {
      this.#questions.inc({ outcome: 'busy' })
      return { status: 'pending', retryAfterMs: config.hookTimeoutMs }
    }
    this.#underway++
    const startedMs = clock.monotonicMs()
    const verdict = await this.#exchange(question)
    this.#underway--
    this.#seconds.observe((clock.monotonicMs() - startedMs) / 1_000)
    this.#questions.inc({ outcome: verdict.status })
    if (verdict.status === 'failed') {
      log.error(
        { device: question.device, tenant: question.tenant, detail: verdict.detail },
        'the pre-provisioning hook failed, the device is refused',
      )
    }
    return verdict
  }

  async #exchange(question: HookQuestion): Promise<HookVerdict> {
    const { enrolmentConfig: config, clock } = this.#options
    const timeout = new AbortController()
    const timer = clock.after(config.hookTimeoutMs, () => timeout.abort(new Error(`no answer within ${config.hookTimeoutMs} ms`)))
    try {
      const agent = this.#agent
      if (agent === undefined) return { status: 'failed', detail: 'the hook is asked before its start or after its stop' }
      const nowMs = clock.nowMs()
      const body = JSON.stringify({ type: 'device.enrolling', timestamp: new Date(nowMs).toISOString(), data: question })
      const response = await request(this.#guard.checkUrl(config.hookUrl), {
        dispatcher: agent,
        method: 'POST',
        headers: {
          ...signatureHeaders({ id: newId(nowMs), nowMs, body, secrets: [this.#secret] }),
          'content-type': 'application/json',
          'user-agent': 'fleetpulse-enrolment/1',
        },
        body,
        signal: timeout.signal,
      })
      const answer = await beginningOf(response.body)
      if (answer === undefined) return { status: 'failed', detail: `the answer is longer than ${ANSWER_BYTES_MAX} bytes` }
      if (response.statusCode < 200 || response.statusCode > 299) return { status: 'failed', detail: `it answered ${response.statusCode}` }
      return readHookAnswer(answer)
    } catch (error) {
      return { status: 'failed', detail: describeError(timeout.signal.aborted ? timeout.signal.reason : error) }
    } finally {
      timer.cancel()
    }
  }

  async #caPem(): Promise<string | undefined> {
    const { hookCaFile } = this.#options.enrolmentConfig
    if (hookCaFile === '') return undefined
    try {
      return await readFile(hookCaFile, 'utf8')
    } catch (error) {
      throw new EnvironmentError(
        'HOOK_CA_UNREADABLE',
        `The CA of the pre-provisioning hook, ${hookCaFile}, cannot be read: ${describeError(error)}.`,
        {
          remedy: 'Correct enrolment.hookCaFile, or leave it empty for a public CA.',
          cause: error,
        },
      )
    }
  }
}

/** The whole body, or undefined when it is longer than it may be. */
async function beginningOf(body: AsyncIterable<Buffer> & { destroy: () => unknown }): Promise<Buffer | undefined> {
  const pieces: Buffer[] = []
  let sizeBytes = 0
  for await (const piece of body) {
    sizeBytes += piece.length
    if (sizeBytes > ANSWER_BYTES_MAX) {
      body.destroy()
      return undefined
    }
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}
