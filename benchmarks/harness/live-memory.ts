import { once } from 'node:events'
import { WebSocket } from 'ws'
import { InternalError } from '../../kernel/errors.ts'

const MIB = 1_024 ** 2
const ADDRESS = /Debugger listening on (ws:\/\/127\.0\.0\.1:\d+\/[\w-]+)/

/** What a thread holds, in MiB. */
interface Held {
  heapUsed: number
  external: number
}

interface Answer {
  id?: number
  method?: string
  result?: { result?: { value?: string } }
  error?: { message: string }
  params?: { sessionId: string; message?: string }
}

/**
 * What a process still holds once every thread of it has collected its garbage: what it leaks shows here, and what it merely has not tidied up
 * does not. By the inspector of Node.js, on this machine alone: the process must be started with `LiveMemory.env`.
 */
export class LiveMemory {
  static readonly env = { NODE_OPTIONS: '--inspect=127.0.0.1:0' }
  readonly #socket: WebSocket
  readonly #waiting = new Map<string, (answer: Answer) => void>()
  readonly #workers = new Set<string>()
  #lastId = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => this.#take(JSON.parse(data.toString()) as Answer))
  }

  /** `stderr`: of the process, from its start. */
  static async open(stderr: string): Promise<LiveMemory> {
    const [, address] = ADDRESS.exec(stderr) ?? []
    if (address === undefined) throw new InternalError('the process does not say where its inspector listens')
    const socket = new WebSocket(address)
    await once(socket, 'open')
    const opened = new LiveMemory(socket)
    await opened.#ask('NodeWorker.enable', { waitForDebuggerOnStart: false })
    return opened
  }

  /** Of all threads together, in MiB, after a collection in each. */
  async mb(): Promise<number> {
    let sum = 0
    for (const thread of [undefined, ...this.#workers]) {
      await this.#ask('HeapProfiler.collectGarbage', {}, thread)
      const { result } = await this.#ask('Runtime.evaluate', { expression: 'JSON.stringify(process.memoryUsage())' }, thread)
      const { heapUsed, external } = JSON.parse(result?.result?.value ?? '{}') as Held
      sum += heapUsed + external
    }
    return sum / MIB
  }

  close(): void {
    this.#socket.terminate()
  }

  async #ask(method: string, params: object, worker?: string): Promise<Answer> {
    const id = ++this.#lastId
    const message = { id, method, params }
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(`${worker ?? ''} ${id}`, resolve))
    this.#socket.send(
      JSON.stringify(
        worker === undefined
          ? message
          : {
              id: ++this.#lastId,
              method: 'NodeWorker.sendMessageToWorker',
              params: { sessionId: worker, message: JSON.stringify(message) },
            },
      ),
    )
    const { error, ...rest } = await answer
    if (error !== undefined) throw new InternalError(`${method}: ${error.message}`)
    return rest
  }

  #take(answer: Answer, worker = ''): void {
    const { id, method, params } = answer
    if (id !== undefined) {
      this.#waiting.get(`${worker} ${id}`)?.(answer)
      this.#waiting.delete(`${worker} ${id}`)
    } else if (method === 'NodeWorker.attachedToWorker' && params !== undefined) this.#workers.add(params.sessionId)
    else if (method === 'NodeWorker.detachedFromWorker' && params !== undefined) this.#workers.delete(params.sessionId)
    else if (method === 'NodeWorker.receivedMessageFromWorker' && params?.message !== undefined)
      this.#take(JSON.parse(params.message) as Answer, params.sessionId)
  }
}
