import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'

/*
 * receiver-child.js PORT FILE: answers 204 when what it got is written to FILE, a line of JSON each (webhook-id, type, device or incident).
 * Killed and started again it goes on at the end of the file.
 */

const [port = '0', file = ''] = process.argv.slice(2)
const server = createServer((request, response) => {
  const pieces: Buffer[] = []
  request.on('data', (piece: Buffer) => pieces.push(piece))
  request.on('end', () => {
    const { type, data } = JSON.parse(Buffer.concat(pieces).toString()) as {
      type: string
      data: { alert?: { id: string; device: string }; incident?: { id: string } }
    }
    const line = {
      webhookId: request.headers['webhook-id'] ?? null,
      type,
      device: data.alert?.device,
      alert: data.alert?.id,
      incident: data.incident?.id,
    }
    appendFileSync(file, `${JSON.stringify(line)}\n`)
    response.writeHead(204).end()
  })
})
server.listen(Number(port), '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }))
