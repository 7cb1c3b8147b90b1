import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { alterUserScramCredentialsV0, Connection, ScramMechanisms } from '@platformatic/kafka'
import { KafkaServer } from '../../deploy/servers/kafka-server.ts'
import { freePort } from '../../deploy/servers/server-process.ts'
import { ConfigError, EnvironmentError } from '../../kernel/errors.ts'
import type { KafkaConfig } from './kafka-config.ts'
import { openKafkaLog } from './kafka-testing.ts'
import { message, topicSpec } from './temporary-log.ts'

const PASSWORD = 'admin-secret-7'
const SCRAM_PASSWORD = 'scram-secret-8'
const SCRAM_ITERATIONS = 4_096
const PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required'

describe('Kafka behind TLS, SASL and access rights', () => {
  let folder: string
  let kafka: KafkaServer
  let address: string
  let login: Partial<KafkaConfig>
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fleetpulse-kafka-'))
    const tlsCaFile = join(folder, 'cert.pem')
    const pem = await certificate(folder)
    const port = await freePort()
    address = `127.0.0.1:${port}`
    login = { tls: true, tlsCaFile, saslMechanism: 'PLAIN', saslUsername: 'admin', saslPassword: PASSWORD, startTimeoutMs: 0 }
    kafka = new KafkaServer({
      folder: join(folder, 'kafka'),
      secure: { port, protocol: 'SASL_SSL' },
      settings: {
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': pem,
        'listener.name.secure.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-512',
        'listener.name.secure.scram-sha-512.sasl.jaas.config': 'org.apache.kafka.common.security.scram.ScramLoginModule required;',
        'listener.name.secure.plain.sasl.jaas.config': `${PLAIN} user_admin="${PASSWORD}" user_guest="guest-secret";`,
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS;User:admin',
      },
    })
    await kafka.start()
    await addScramUser(kafka.address, 'admin', SCRAM_PASSWORD)
  })
  after(async () => {
    await kafka.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test('appends, consumes and commits over TLS with a password', async () => {
    const { log, dispose } = await openKafkaLog(address, { config: login })
    await log.ensureTopics([topicSpec('in', 1), topicSpec('out', 1)])
    await log.append('in', [message('k', 'hello')])
    const consumer = await log.consume({ group: 'g', topic: 'in' })
    const [record] = await consumer.poll(1, 20_000)
    assert.equal(Buffer.from(record!.value).toString(), 'hello')
    await consumer.commit(new Map([[0, 1]]), [{ topic: 'out', messages: [message('k', 'done')] }])
    const follower = await log.consume({ topic: 'out' })
    assert.equal((await follower.poll(1, 20_000)).length, 1)
    await dispose()
  })

  test('proves by SCRAM that it knows the password, without telling it', async () => {
    const scram: Partial<KafkaConfig> = { ...login, saslMechanism: 'SCRAM-SHA-512', saslPassword: SCRAM_PASSWORD }
    const { log, dispose } = await openKafkaLog(address, { config: scram })
    await log.ensureTopics([topicSpec('scram', 1)])
    await log.append('scram', [message('k', 'hello')])
    assert.equal((await log.read('scram', 0, 0, 10)).length, 1)
    await dispose()
    const error = await startError(address, { ...scram, saslPassword: 'wrong-secret' })
    assert.equal(error.code, 'LOG_ACCESS_DENIED')
  })

  test('a wrong password is refused at once, in a sentence that does not show it', async () => {
    const error = await startError(address, { ...login, saslPassword: 'wrong-secret', startTimeoutMs: 60_000 })
    assert.equal(error.code, 'LOG_ACCESS_DENIED')
    assert.equal(error.retryable, false)
    assert.match(error.message, new RegExp(`^Kafka at ${address} refused the credentials`))
    assert.match(error.remedy ?? '', /kafka\.saslPassword/)
    assert.ok(!JSON.stringify([error, error.message, error.stack]).includes('wrong-secret'))
  })

  test('a certificate that nobody we trust signed is not accepted', async () => {
    const error = await startError(address, { ...login, tlsCaFile: '' })
    assert.equal(error.code, 'LOG_UNAVAILABLE')
    assert.match(error.message, /certificate/)
  })

  test('a file that cannot be read is named', async () => {
    const opening = openKafkaLog(address, { config: { ...login, tlsCaFile: join(folder, 'nowhere.pem') } })
    await assert.rejects(opening, (error) => error instanceof ConfigError && error.faults[0]!.key === 'kafka.tlsCaFile')
  })

  test('missing rights are named', async () => {
    const { log, dispose } = await openKafkaLog(address, { config: { ...login, saslUsername: 'guest', saslPassword: 'guest-secret' } })
    await assert.rejects(log.ensureTopics([topicSpec('forbidden', 1)]), (error) => {
      assert.ok(error instanceof EnvironmentError, String(error))
      assert.equal(error.code, 'LOG_ACCESS_DENIED')
      assert.match(
        error.message,
        /forbidden with 1 partitions could not be created \(TOPIC_AUTHORIZATION_FAILED\)|topics could not be looked up/,
      )
      assert.match(error.remedy ?? '', /right/)
      return true
    })
    await dispose()
  })

  test('plain text to a TLS port, and nobody at all, are reported with the address', async () => {
    const plain = await startError(address, { startTimeoutMs: 0, connectTimeoutMs: 2_000, requestTimeoutMs: 2_000 })
    assert.equal(plain.code, 'LOG_UNAVAILABLE')
    assert.ok(plain.message.includes(address), plain.message)
    const nobody = `127.0.0.1:${await freePort()}`
    const missing = await startError(nobody, { startTimeoutMs: 0 })
    assert.equal(missing.code, 'LOG_UNAVAILABLE')
    assert.match(missing.message, /ECONNREFUSED/)
    assert.ok(missing.message.includes(nobody))
    assert.match(missing.remedy ?? '', /kafka\.brokers/)
  })

  test('a server that answers nothing ends the wait', async () => {
    const silent = createServer((socket) => socket.on('error', () => socket.destroy()).resume())
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as { port: number }
    const error = await startError(`127.0.0.1:${port}`, { startTimeoutMs: 0, requestTimeoutMs: 500 })
    assert.equal(error.code, 'LOG_UNAVAILABLE')
    await new Promise((resolve) => silent.close(resolve))
  })
})

async function startError(address: string, config: Partial<KafkaConfig>): Promise<EnvironmentError> {
  try {
    const { dispose } = await openKafkaLog(address, { config })
    await dispose()
  } catch (error) {
    assert.ok(error instanceof EnvironmentError, String(error))
    return error
  }
  throw new assert.AssertionError({ message: 'it started' })
}

/** RFC 5802: Kafka keeps the salted password. */
async function addScramUser(address: string, name: string, password: string): Promise<void> {
  const [host, port] = address.split(':') as [string, string]
  const connection = new Connection('test')
  await connection.connect(host, Number(port))
  const salt = randomBytes(16)
  const saltedPassword = pbkdf2Sync(password, salt, SCRAM_ITERATIONS, 64, 'sha512')
  const mechanism = ScramMechanisms.SCRAM_SHA_512
  await alterUserScramCredentialsV0.api.async(connection, [], [{ name, mechanism, iterations: SCRAM_ITERATIONS, salt, saltedPassword }])
  await connection.close()
}

/** A certificate for 127.0.0.1; answers the file of key and certificate together, as Kafka wants it. */
async function certificate(folder: string): Promise<string> {
  const [key, cert, both] = ['key.pem', 'cert.pem', 'both.pem'].map((name) => join(folder, name)) as [string, string, string]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key]
  execFileSync('openssl', ['req', '-x509', ...newKey, '-out', cert, ...subject], { stdio: 'ignore' })
  await writeFile(both, Buffer.concat([await readFile(key), await readFile(cert)]))
  return both
}
