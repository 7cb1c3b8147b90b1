import { TimeoutError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { isSpanSeen, tellSpan, type Span, type SpanSink } from '../../kernel/spans.ts'
import type { Clock } from '../../kernel/time.ts'
import { spanIdOf } from '../../kernel/trace-ids.ts'

/** As the semantic conventions have it: a `function` works something out, a `datastore` is read. */
export type ToolType = 'function' | 'datastore'

/** How a use of a tool ended. `failure`: closed words, because the error's own text is others'. */
export interface ToolEnd {
  attributes: Span['attributes']
  failure?: string | null
}

/** What an agent uses in its turn: a check, a question to the stores, the verifier. Names are closed lists of ours. */
export interface Tools {
  /** `below`: for what this use of the tool uses itself. Answers and throws as `work` does. */
  run<T>(type: ToolType, tool: string, work: (below: Tools) => Promise<T>, endOf: (result: T) => ToolEnd): Promise<T>
}

/** Where nobody looks. */
export const UNSEEN_TOOLS: Tools = { run: (_type, _tool, work) => work(UNSEEN_TOOLS) }

export interface ToolSpansOptions {
  clock: Clock
  log: Logger
  sink: SpanSink | undefined
  correlationId: string
  conversation: string
  agent: string
}

/** Says each use of a tool as a span `execute_tool NAME` (OpenTelemetry, semantic conventions for generative AI, status Development). */
export class ToolSpans implements Tools {
  readonly #options: ToolSpansOptions
  readonly #parentSpanId: string
  readonly #count: { uses: number }

  private constructor(options: ToolSpansOptions, parentSpanId: string, count = { uses: 0 }) {
    this.#options = options
    this.#parentSpanId = parentSpanId
    this.#count = count
  }

  /** Tools below this span; where nobody would see their spans, none are made. */
  static below(parentSpanId: string, options: ToolSpansOptions): Tools {
    return isSpanSeen(options.log, options.sink) ? new ToolSpans(options, parentSpanId) : UNSEEN_TOOLS
  }

  async run<T>(type: ToolType, tool: string, work: (below: Tools) => Promise<T>, endOf: (result: T) => ToolEnd): Promise<T> {
    const startedAt = this.#options.clock.nowMs()
    const spanId = spanIdOf('tool', this.#parentSpanId, tool, startedAt, ++this.#count.uses)
    const tell = (end: ToolEnd): void => this.#tell({ type, tool, spanId, startedAt }, end)
    try {
      const result = await work(new ToolSpans(this.#options, spanId, this.#count))
      tell(endOf(result))
      return result
    } catch (error) {
      tell({ attributes: {}, failure: failureOf(error) })
      throw error
    }
  }

  #tell(use: { type: ToolType; tool: string; spanId: string; startedAt: number }, { attributes, failure = null }: ToolEnd): void {
    const { clock, log, sink, correlationId, conversation, agent } = this.#options
    const { type, tool, spanId, startedAt } = use
    const name = `execute_tool ${tool}`
    const common = {
      ...{ 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': tool, 'gen_ai.tool.type': type },
      ...{ 'gen_ai.agent.name': agent, 'gen_ai.conversation.id': conversation },
      ...(failure === null ? {} : { 'error.type': failure }),
    }
    const times = { startedAt, endedAt: clock.nowMs() }
    tellSpan(
      log,
      { name, correlationId, spanId, parentSpanId: this.#parentSpanId, ...times, attributes: { ...common, ...attributes } },
      sink,
    )
  }
}

/** Why something could not be looked at, in one word of ours. */
export function failureOf(error: unknown): 'failed' | 'timed_out' {
  return error instanceof TimeoutError ? 'timed_out' : 'failed'
}
