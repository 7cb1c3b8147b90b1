/** One of the real servers on this machine, as tests, benches and `npm run servers` run it. */
export interface LocalServer {
  readonly name: string
  /** Process ids of what runs, for processor time and memory. */
  readonly pid: number
  /** What clients are told, for instance `127.0.0.1:9092`. */
  readonly address: string
  /** Resolves when it answers. Again after `stop` or `kill`: same ports, same state. */
  start(): Promise<void>
  /** Gracefully. */
  stop(): Promise<void>
  /** kill -9. */
  kill(): Promise<void>
}

/** Where a server listens; a port that is left out is any free one. */
export interface ServerPorts {
  kafka?: number
  questdbHttp?: number
  questdbPg?: number
  mongodb?: number
}
