import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/** Stands between a client and a server, and can lose answers. */
export interface AnswerLoser {
  /** mongodb://host:port */
  url: string
  /** The next request of this command reaches the server; then its connection is cut before the answer. */
  loseNextAnswer(command: string): void
  lost(): number
}

export async function answerLoser(t: TestContext, serverUrl: string): Promise<AnswerLoser> {
  const target = new URL(serverUrl)
  const sockets = new Set<Socket>()
  let command: string | undefined
  let lost = 0
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let losing = false
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
    }
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    client.on('data', (chunk) => {
      if (command !== undefined && chunk.includes(`${command}\0`)) {
        losing = true
        command = undefined
      }
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (!losing) return client.write(chunk)
      lost++
      client.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const url = `mongodb://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, loseNextAnswer: (next) => (command = next), lost: () => lost }
}
