import { readFile } from 'node:fs/promises'
import type { ConnectionOptions } from '@platformatic/kafka'
import { ConfigError, describeError } from '../../kernel/errors.ts'
import type { KafkaConfig } from './kafka-config.ts'

/** What every connection to Kafka is opened with. Reads the TLS files; rejects with ConfigError naming the one that cannot be read. */
export async function connectionOptions(config: KafkaConfig): Promise<ConnectionOptions> {
  const options: ConnectionOptions = {
    connectTimeout: config.connectTimeoutMs,
    requestTimeout: config.requestTimeoutMs,
    // Requests wait for one another at the broker; here none has to.
    maxInflights: 1_000,
  }
  if (config.tls) {
    options.tls = {}
    if (config.tlsCaFile !== '') options.tls.ca = await pem(config, 'tlsCaFile')
    if (config.tlsCertFile !== '') options.tls.cert = await pem(config, 'tlsCertFile')
    if (config.tlsKeyFile !== '') options.tls.key = await pem(config, 'tlsKeyFile')
  }
  if (config.saslMechanism !== 'none') {
    options.sasl = {
      mechanism: config.saslMechanism,
      username: config.saslUsername,
      password: config.saslPassword,
    }
  }
  return options
}

async function pem(config: KafkaConfig, key: 'tlsCaFile' | 'tlsCertFile' | 'tlsKeyFile'): Promise<Buffer> {
  try {
    return await readFile(config[key])
  } catch (error) {
    throw new ConfigError([{ key: `kafka.${key}`, problem: describeError(error), allowed: 'a PEM file that this user may read' }])
  }
}
