import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { mergedMetricsText, Metrics } from './metrics.ts'

describe('metrics of several threads', () => {
  it('are one text in which every family is written once, its samples added', async () => {
    const threads = [new Metrics(), new Metrics()]
    for (const metrics of threads) {
      metrics.counter('log_records_total', 'Records.', ['topic']).inc({ topic: 'a' }, 2)
      metrics.histogram('wait_seconds', 'Waits.', [1]).observe(0.5)
    }
    threads[0]?.gaugeOf('lag_records', 'Lag.', () => 7)
    threads[1]?.collectProcess()
    const text = await mergedMetricsText(await Promise.all(threads.map((metrics) => metrics.families())))
    const lines = text.split('\n')
    const names = lines.filter((line) => line.startsWith('# HELP ')).map((line) => line.split(' ')[2])
    assert.equal(new Set(names).size, names.length)
    assert.ok(lines.includes('fleetpulse_log_records_total{topic="a"} 4'), text)
    assert.ok(lines.includes('fleetpulse_wait_seconds_bucket{le="+Inf"} 2'), text)
    assert.ok(lines.includes('fleetpulse_lag_records 7'), text)
    assert.ok(names.includes('process_start_time_seconds'), text)
    const gauges = lines.filter((line) => /^# TYPE \S+_total gauge$/.test(line))
    assert.deepEqual(gauges, [])
  })
})
