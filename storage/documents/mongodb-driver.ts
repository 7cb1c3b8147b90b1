import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { MongoNetworkError } from 'mongodb'

/** What is used of a connection of the driver: not part of its documented API, which is why package.json names one exact version. */
interface DriverConnection {
  readonly id: number | string
  readonly address: string
  readonly socket: Socket
  onClose(): void
}

const require = createRequire(import.meta.url)
let isMended = false

/**
 * A command that is written after its socket was destroyed and before that told `close` waits for `drain` or `error` (mongodb 7.9.0,
 * cmap/connection.js, writeCommand), and neither comes any more: Node raises no error on a destroyed socket. Its operation never ends, or
 * the server's monitor, and then no operation is sent until the process starts anew. From here on whoever waits when a socket closes is
 * told so. See docs/decisions/0039.
 */
export function mendDriver(): void {
  if (isMended) return
  isMended = true
  const { Connection } = require('mongodb/lib/cmap/connection.js') as { Connection: { prototype: DriverConnection } }
  const { onClose } = Connection.prototype
  Connection.prototype.onClose = function (this: DriverConnection): void {
    if (this.socket.listenerCount('drain') > 0) {
      this.socket.emit('error', new MongoNetworkError(`connection ${this.id} to ${this.address} closed before it was written to`))
    }
    onClose.call(this)
  }
}
