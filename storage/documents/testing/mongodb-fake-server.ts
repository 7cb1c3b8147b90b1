import { createServer, type AddressInfo, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { BSON, type Document } from 'mongodb'

const HEADER_BYTES = 16
const OP_REPLY = 1
const OP_QUERY = 2004
const OP_MSG = 2013

/** Answers one command; undefined closes the connection without an answer, null says nothing. */
export type FakeAnswers = (command: Document) => Document | null | undefined

export interface FakeServer {
  /** Host and port. */
  address: string
  /** Ends every connection, the oldest first; new ones are taken. */
  endAll(): void
}

/** What a standalone server of this wire version says of itself. */
export function hello(maxWireVersion: number): Document {
  return {
    ok: 1,
    ismaster: true,
    minWireVersion: 0,
    maxWireVersion,
    maxBsonObjectSize: 16_777_216,
    maxMessageSizeBytes: 48_000_000,
    maxWriteBatchSize: 100_000,
    readOnly: false,
  }
}

/** Speaks just enough of MongoDB's wire protocol to refuse what a real server would; for errors that no stand-in makes. */
export async function fakeServer(t: TestContext, answers: FakeAnswers): Promise<FakeServer> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    let received = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= 4 && received.length >= received.readInt32LE(0)) {
        const message = received.subarray(0, received.readInt32LE(0))
        received = received.subarray(message.length)
        const answer = answers(commandIn(message))
        if (answer === undefined) return socket.destroy()
        if (answer !== null) socket.write(replyTo(message, answer))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    endAll: () => sockets.forEach((socket) => socket.end()),
  }
}

function commandIn(message: Buffer): Document {
  if (message.readInt32LE(12) === OP_MSG)
    return BSON.deserialize(message.subarray(HEADER_BYTES + 5, HEADER_BYTES + 5 + message.readInt32LE(HEADER_BYTES + 5)))
  const name = message.indexOf(0, HEADER_BYTES + 4)
  return BSON.deserialize(message.subarray(name + 9, name + 9 + message.readInt32LE(name + 9)))
}

function replyTo(message: Buffer, answer: Document): Buffer {
  const asQuery = message.readInt32LE(12) === OP_QUERY
  const document = Buffer.from(BSON.serialize(answer))
  const head = Buffer.alloc(asQuery ? HEADER_BYTES + 20 : HEADER_BYTES + 5)
  head.writeInt32LE(head.length + document.length, 0)
  head.writeInt32LE(message.readInt32LE(4), 8)
  head.writeInt32LE(asQuery ? OP_REPLY : OP_MSG, 12)
  if (asQuery) head.writeInt32LE(1, HEADER_BYTES + 16)
  return Buffer.concat([head, document])
}
