/** Where the servers of `npm run test:servers` answer; it tells the tests by environment variables. */
export interface ServerAddresses {
  /** host:port */
  kafka: string
  /** http://host:port */
  questdbHttp: string
  /** postgres://user:password@host:port/database */
  questdbPg: string
  /** mongodb://host:port */
  mongodb: string
}

const VARIABLES: Readonly<Record<keyof ServerAddresses, string>> = {
  kafka: 'FLEETPULSE_TEST_KAFKA',
  questdbHttp: 'FLEETPULSE_TEST_QUESTDB_HTTP',
  questdbPg: 'FLEETPULSE_TEST_QUESTDB_PG',
  mongodb: 'FLEETPULSE_TEST_MONGODB',
}

/** An address from the environment. Throws without it: a `*.servers.test.ts` is only run by `npm run test:servers`. */
export function serverAddress(server: keyof ServerAddresses): string {
  const address = process.env[VARIABLES[server]]
  if (address === undefined || address === '') throw new TypeError(`${VARIABLES[server]} is not set: run this by npm run test:servers`)
  return address
}

/** The environment that `serverAddress` reads. */
export function addressEnvironment(addresses: ServerAddresses): Record<string, string> {
  return Object.fromEntries(Object.entries(VARIABLES).map(([server, variable]) => [variable, addresses[server as keyof ServerAddresses]]))
}
