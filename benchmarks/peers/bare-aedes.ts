import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { parseArgs } from 'node:util'
import { Aedes } from 'aedes'
import { TLS_INTERMEDIATE } from '../../kernel/tls.ts'

/* Aedes behind TLS with required client certificates, and nothing else. Prints {"port":N}. Options: --key-and-cert FILE --ca FILE. */

const { values: options } = parseArgs({ options: { 'key-and-cert': { type: 'string', default: '' }, ca: { type: 'string', default: '' } } })
const keyAndCert = readFileSync(options['key-and-cert'])
const ca = readFileSync(options.ca)
const broker = await Aedes.createBroker()
const server = createServer(
  { ...TLS_INTERMEDIATE, key: keyAndCert, cert: [keyAndCert, ca].join('\n'), ca, requestCert: true, rejectUnauthorized: true },
  broker.handle,
)
server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`))
