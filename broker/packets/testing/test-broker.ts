import { Aedes, type AedesOptions } from 'aedes'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { systemClock, type Clock } from '../../../kernel/time.ts'
import { DeadlineWheel } from '../deadline-wheel.ts'
import type { PacketLimits } from '../limits.ts'
import type { NamePrefixes } from '../prefixes.ts'
import { AEDES_OPTIONS_BEHIND_PACKET_CHECK, StrictConnection } from '../strict-connection.ts'
import type { Violation } from '../violations.ts'
import { defaultLimits } from './default-limits.ts'

/** Aedes, with its store in memory, behind the packet check on a loopback port. */
export interface TestBroker {
  readonly port: number
  readonly aedes: Aedes
  readonly deadlines: DeadlineWheel
  readonly violations: Violation[]
  /** Every connection so far, the newest last. */
  readonly connections: StrictConnection[]
  readonly sockets: Socket[]
  stop(): Promise<void>
}

export interface TestBrokerOptions {
  readonly limits?: Partial<PacketLimits>
  readonly clock?: Clock
  readonly prefixes?: NamePrefixes
  readonly aedes?: AedesOptions
}

export async function startTestBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const aedes = await Aedes.createBroker({ ...AEDES_OPTIONS_BEHIND_PACKET_CHECK, ...options.aedes })
  const deadlines = new DeadlineWheel(options.clock ?? systemClock)
  const limits = defaultLimits(options.limits)
  const violations: Violation[] = []
  const connections: StrictConnection[] = []
  const sockets: Socket[] = []
  const server = createServer({ noDelay: true }, (socket) => {
    const connection = new StrictConnection({
      socket,
      limits,
      deadlines,
      ...(options.prefixes === undefined ? {} : { prefixes: options.prefixes }),
      onViolation: (violation) => void violations.push(violation),
    })
    connections.push(connection)
    sockets.push(socket)
    aedes.handle(connection)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    aedes,
    deadlines,
    violations,
    connections,
    sockets,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      await new Promise<void>((resolve) => aedes.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
      deadlines.stop()
    },
  }
}

/** Runs a test against a broker that is stopped afterwards. */
export async function withBroker(options: TestBrokerOptions, run: (broker: TestBroker) => Promise<void>): Promise<void> {
  const broker = await startTestBroker(options)
  try {
    await run(broker)
  } finally {
    await broker.stop()
  }
}
