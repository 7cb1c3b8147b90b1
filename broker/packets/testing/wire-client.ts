import assert from 'node:assert/strict'
import { connect as connectSocket, type Socket } from 'node:net'
import { withTimeout } from '../../../kernel/retry.ts'
import { systemClock } from '../../../kernel/time.ts'
import { packetLength } from '../framing.ts'
import { connack, connect } from './wire.ts'

/** How long a test waits for something that must come, in ms. */
const PATIENCE_MS = 30_000

/** A device made of a socket: sends what it is told, good or bad, and shows what comes. */
export class WireClient {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #closed = false
  #error: Error | undefined
  #wake: (() => void) | undefined

  constructor(port: number) {
    this.socket = connectSocket(port, '127.0.0.1')
    this.socket.setNoDelay(true)
    this.socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#wake?.()
    })
    this.socket.on('error', (error) => (this.#error = error))
    this.socket.on('close', () => {
      this.#closed = true
      this.#wake?.()
    })
  }

  get closed(): boolean {
    return this.#closed
  }

  /** What went wrong with the socket: a reset, say. */
  get error(): Error | undefined {
    return this.#error
  }

  send(...parts: readonly Buffer[]): this {
    this.socket.write(Buffer.concat(parts))
    return this
  }

  /** The next `size` bytes, or fewer when the connection closes before. */
  async receive(size: number): Promise<Buffer> {
    await this.#until(`${size} bytes`, () => this.#received.length >= size || this.#closed)
    const bytes = this.#received.subarray(0, size)
    this.#received = this.#received.subarray(bytes.length)
    return bytes
  }

  /** The next whole packet. */
  async receivePacket(): Promise<Buffer> {
    const length = (): number => packetLength(this.#received, 0, this.#received.length)
    await this.#until('a packet', () => (length() > 0 && this.#received.length >= length()) || this.#closed)
    return await this.receive(Math.max(0, length()))
  }

  /** What came and was not asked for. */
  get unread(): Buffer {
    return this.#received
  }

  /** Reads on, and keeps nothing of it. */
  discard(): void {
    this.socket.removeAllListeners('data')
    this.socket.resume()
  }

  async untilClosed(): Promise<void> {
    await this.#until('the end of the connection', () => this.#closed)
  }

  destroy(): void {
    this.socket.destroy()
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    const wait = async (): Promise<void> => {
      while (!isSo()) await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    await withTimeout(systemClock, PATIENCE_MS, `waiting for ${what}`, wait())
  }
}

/** Waits for a condition that another part of the program brings about. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  let abandoned = false
  const wait = async (): Promise<void> => {
    while (!abandoned && !isSo()) await new Promise((resolve) => setImmediate(resolve))
  }
  await withTimeout(systemClock, PATIENCE_MS, `waiting until ${what}`, wait()).finally(() => (abandoned = true))
}

/** A device whose CONNECT was accepted. */
export async function connected(broker: { readonly port: number }, parts: Parameters<typeof connect>[0] = {}): Promise<WireClient> {
  const client = new WireClient(broker.port)
  client.send(connect(parts))
  assert.deepEqual(await client.receive(4), connack())
  return client
}
