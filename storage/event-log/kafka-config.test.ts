import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProtocolError, ResponseError } from '@platformatic/kafka'
import { ConflictError, EnvironmentError, InternalError } from '../../kernel/errors.ts'
import { KAFKA_APIS, missingApis } from './kafka-apis.ts'
import { crossCheckKafkaConfig, type KafkaConfig } from './kafka-config.ts'
import { answeredError, isOtherGeneration, isProducerFenced, toKafkaError } from './kafka-errors.ts'
import { kafkaConfig } from './kafka-testing.ts'

test('the defaults fit one another', () => {
  assert.deepEqual(crossCheckKafkaConfig(kafkaConfig(), 'kafka'), [])
})

test('bounds that do not fit one another are named', () => {
  const cases: [Partial<KafkaConfig>, string][] = [
    [{ messageBytesMax: 4_194_304 }, 'kafka.batchBytesMax'],
    [{ batchBytesMax: 33_554_432 }, 'kafka.requestBytesMax'],
    [{ partitionFetchBytesMax: 8_388_608 }, 'kafka.fetchBytesMax'],
    [{ minInsyncReplicas: 2 }, 'kafka.replicationFactor'],
    [{ appendTimeoutMs: 5_000 }, 'kafka.appendTimeoutMs'],
    [{ revokeTimeoutMs: 60_000 }, 'kafka.rebalanceTimeoutMs'],
    [{ heartbeatMs: 4_000 }, 'kafka.heartbeatMs'],
    [{ tls: true, tlsCertFile: 'cert.pem' }, 'kafka.tlsKeyFile'],
    [{ tlsCaFile: 'ca.pem' }, 'kafka.tls'],
    [{ saslMechanism: 'PLAIN', saslUsername: 'me' }, 'kafka.saslUsername'],
  ]
  for (const [changes, key] of cases) {
    const faults = crossCheckKafkaConfig(kafkaConfig(changes), 'kafka')
    assert.ok(
      faults.some((fault) => fault.key === key),
      `${JSON.stringify(changes)}: ${JSON.stringify(faults)}`,
    )
  }
})

test('addresses are host and port', () => {
  for (const broker of ['kafka-1:9092', '10.0.0.1:9092', '[::1]:9092', 'kafka.example.org:29092']) kafkaConfig({ brokers: [broker] })
  for (const broker of ['kafka-1', 'PLAINTEXT://kafka:9092', 'kafka:port', 'user@kafka:9092', '']) {
    assert.throws(() => kafkaConfig({ brokers: [broker] }), TypeError, broker)
  }
})

test('a broker that lacks what we need is told by what it lacks', () => {
  const offered = Object.values(KAFKA_APIS).map(({ key, version }) => ({ apiKey: key, minVersion: 0, maxVersion: version + 1 }))
  assert.deepEqual(missingApis(offered), [])
  const { fetch, joinGroup } = KAFKA_APIS
  const old = offered.flatMap((api) =>
    api.apiKey === joinGroup.key ? [] : api.apiKey === fetch.key ? [{ ...api, maxVersion: 11 }] : [api],
  )
  assert.deepEqual(missingApis(old), ['Fetch in version 12 (it offers 0 to 11)', 'JoinGroup in version 9 (it offers none)'])
})

test('what brokers answer is told by whose fault it is', () => {
  const answered = (code: number): ResponseError => new ResponseError(0, 9, { '/': [code, null] }, {})
  const codes: [number, string, boolean][] = [
    [29, 'LOG_ACCESS_DENIED', false],
    [30, 'LOG_ACCESS_DENIED', false],
    [58, 'LOG_ACCESS_DENIED', false],
    [38, 'LOG_REFUSED', false],
    [10, 'LOG_REFUSED', false],
    [25, 'LOG_FENCED', false],
    [22, 'LOG_FENCED', false],
    [90, 'LOG_FENCED', false],
    [6, 'LOG_UNAVAILABLE', true],
    [19, 'LOG_UNAVAILABLE', true],
  ]
  for (const [code, expected, retryable] of codes) {
    const error = toKafkaError(answered(code), 'it failed', 'kafka:9092')
    assert.equal(error.code, expected, String(code))
    assert.equal(error.retryable, retryable, String(code))
    assert.equal(answeredError(error), new ProtocolError(code)['apiId' as keyof ProtocolError])
    assert.match(error.message, /it failed|credentials/)
  }
  assert.ok(toKafkaError(answered(25), 'x', 'y') instanceof ConflictError)
  assert.ok(isOtherGeneration(toKafkaError(answered(22), 'x', 'y')) && !isOtherGeneration(answered(25)))
  assert.ok(isProducerFenced(toKafkaError(answered(90), 'x', 'y')))
  const cause = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' })
  const away = toKafkaError(cause, 'it could not be reached', 'kafka:9092')
  assert.ok(away instanceof EnvironmentError && away.code === 'LOG_UNAVAILABLE')
  assert.equal(away.message, 'Kafka at kafka:9092 is not available: it could not be reached (connect ECONNREFUSED 127.0.0.1:1)')
  assert.ok(toKafkaError(new TypeError('x is not a function'), 'it failed', 'kafka:9092') instanceof InternalError)
})
