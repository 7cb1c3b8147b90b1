import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ConfigError, InvalidInputError } from '../kernel/errors.ts'
import { loadConfig } from './config.ts'
import { checkTargets, parseTargets, TARGETS } from './targets.ts'

const file = join(tmpdir(), 'no-such-folder', 'fleetpulse.config.json')
const CLUSTER = { FLEETPULSE_EVENT_LOG_ENGINE: 'kafka', FLEETPULSE_SERIES_ENGINE: 'questdb', FLEETPULSE_DOCUMENTS_ENGINE: 'mongodb' }

test('a list of targets, in any order and with spaces, or all', () => {
  assert.deepEqual(parseTargets('all'), TARGETS)
  assert.deepEqual(parseTargets('alerts, edge'), ['edge', 'alerts'])
  for (const wrong of ['', 'edges', 'edge,all', 'edge;alerts']) assert.throws(() => parseTargets(wrong), InvalidInputError, wrong)
})

test('a part of the platform over an engine that one process opens alone is refused with the reason, each engine named', () => {
  assert.throws(
    () => checkTargets(loadConfig({ env: {}, file }), ['edge']),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(
        error.faults.map(({ problem }) => problem.split(' ')[0]),
        ['lmdb', 'duckdb', 'lmdb'],
      )
      assert.match(error.faults[0]?.problem ?? '', /could not share it/)
      assert.match(error.faults[0]?.allowed ?? '', /kafka, or --target=all/)
      return true
    },
  )
  const { FLEETPULSE_SERIES_ENGINE: _, ...oneMissing } = CLUSTER
  assert.throws(() => checkTargets(loadConfig({ env: oneMissing, file }), ['edge']), /duckdb/)
  checkTargets(loadConfig({ env: CLUSTER, file }), ['edge'])
  checkTargets(loadConfig({ env: {}, file }), TARGETS)
})
