import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { EnvironmentError } from '../../kernel/errors.ts'
import { serverJars } from './jars.ts'
import type { LocalServer } from './local-server.ts'
import { freePort, ServerProcess } from './server-process.ts'

/** Any 16 bytes in base64url: Kafka wants one per cluster. */
const CLUSTER_ID = 'fleetpulse-local-srvrQ'
const HEAP = '-Xmx512m'
const READY_LINE = 'Kafka Server started'

export interface KafkaServerOptions {
  folder: string
  /** 0 or none: any free one. */
  port?: number | undefined
  /** One more listener, named SECURE; `advertisedPort` is that of a proxy in front of it. */
  secure?: { port: number; protocol: 'SASL_SSL' | 'SASL_PLAINTEXT' | 'SSL' | 'PLAINTEXT'; advertisedPort?: number }
  /** One of several; absent: it is alone. */
  node?: KafkaNode
  /** Further properties of the broker; they win over ours. */
  settings?: Readonly<Record<string, string>>
}

/** Which of several nodes, and where the controllers of all are. */
export interface KafkaNode {
  id: number
  controllerPorts: readonly number[]
}

/** Apache Kafka in KRaft mode: a node that is broker and controller. */
export class KafkaServer implements LocalServer {
  readonly name = 'kafka'
  readonly #folder: string
  readonly #secure: KafkaServerOptions['secure']
  readonly #settings: Readonly<Record<string, string>>
  readonly #node: KafkaNode | undefined
  #port: number
  #controllerPort = 0
  #process: ServerProcess | undefined
  #starts = 0

  constructor(options: KafkaServerOptions) {
    this.#folder = options.folder
    this.#secure = options.secure
    this.#settings = options.settings ?? {}
    this.#node = options.node
    this.#controllerPort = options.node?.controllerPorts[options.node.id - 1] ?? 0
    this.#port = options.port ?? 0
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`
  }
  get pid(): number {
    if (this.#process === undefined) throw new EnvironmentError('SERVER_NOT_RUNNING', 'kafka does not run')
    return this.#process.pid
  }

  async start(): Promise<void> {
    const taken = new Set([this.#secure?.port, this.#secure?.advertisedPort])
    if (this.#port === 0) this.#port = await otherFreePort(taken)
    if (this.#controllerPort === 0) this.#controllerPort = await otherFreePort(taken.add(this.#port))
    mkdirSync(this.#folder, { recursive: true })
    const properties = join(this.#folder, 'kraft.properties')
    writeFileSync(properties, this.#properties())
    const log4j = join(this.#folder, 'log4j2.properties')
    writeFileSync(
      log4j,
      'rootLogger.level=INFO\nrootLogger.appenderRefs=out\nrootLogger.appenderRef.out.ref=OUT\nappender.out.type=Console\nappender.out.name=OUT\nappender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%d %p %c %m%n\n',
    )
    const classpath = ['-cp', `${serverJars()}/*`]
    if (!existsSync(join(this.#folder, 'log', 'meta.properties'))) format(classpath, properties)
    const logFile = join(this.#folder, `kafka-${++this.#starts}.out`)
    const args = [HEAP, `-Dlog4j2.configurationFile=${log4j}`, ...classpath, 'kafka.Kafka', properties]
    const server = new ServerProcess({ name: this.name, command: 'java', args, logFile })
    this.#process = server
    writeFileSync(logFile, '')
    await server.start(async () => server.log.includes(READY_LINE) && (await accepts(this.#port)))
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
  }

  async kill(): Promise<void> {
    await this.#process?.kill()
  }

  /** Every internal topic has a replica on each node, up to three. Small, because a laptop runs it. */
  #properties(): string {
    const { id, controllerPorts } = this.#node ?? { id: 1, controllerPorts: [this.#controllerPort] }
    const replicas = Math.min(3, controllerPorts.length)
    const insyncMin = Math.max(1, replicas - 1)
    const secure = this.#secure
    const brokers = (securePort: number | undefined): string =>
      `PLAINTEXT://127.0.0.1:${this.#port}` + (securePort === undefined ? '' : `,SECURE://127.0.0.1:${securePort}`)
    return Object.entries({
      'process.roles': 'broker,controller',
      'node.id': id,
      'controller.quorum.voters': controllerPorts.map((port, i) => `${i + 1}@127.0.0.1:${port}`).join(','),
      listeners: `${brokers(secure?.port)},CONTROLLER://127.0.0.1:${this.#controllerPort}`,
      'advertised.listeners': brokers(secure?.advertisedPort ?? secure?.port),
      'controller.listener.names': 'CONTROLLER',
      'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:${secure?.protocol ?? 'PLAINTEXT'}`,
      'log.dirs': join(this.#folder, 'log'),
      'auto.create.topics.enable': false,
      'offsets.topic.replication.factor': replicas,
      'offsets.topic.num.partitions': 4,
      'transaction.state.log.replication.factor': replicas,
      'transaction.state.log.min.isr': insyncMin,
      'transaction.state.log.num.partitions': 4,
      'share.coordinator.state.topic.replication.factor': replicas,
      'share.coordinator.state.topic.min.isr': insyncMin,
      'group.initial.rebalance.delay.ms': 0,
      ...this.#settings,
    })
      .map(([key, value]) => `${key}=${value}\n`)
      .join('')
  }
}

/** A free port may be handed out twice before anybody listens on it. */
async function otherFreePort(taken: ReadonlySet<number | undefined>): Promise<number> {
  for (;;) {
    const port = await freePort()
    if (!taken.has(port)) return port
  }
}

function format(classpath: readonly string[], properties: string): void {
  const { status, stdout, stderr } = spawnSync(
    'java',
    [...classpath, 'kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', properties],
    { encoding: 'utf8' },
  )
  if (status !== 0)
    throw new EnvironmentError('SERVER_NOT_STARTED', `Kafka could not format its folder: ${(stdout + stderr).slice(-1_000)}`)
}

/** Does something listen there? */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
