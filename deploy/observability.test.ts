import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metrics } from '../kernel/metrics.ts'
import { isTestCode, projectFiles, readProjectFile } from '../test/testing/repository.ts'

interface Panel {
  id: number
  type: string
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  targets?: { expr: string; legendFormat: string }[]
}

const DECLARED = /\.(counter|histogram|gauge)\(\s*'([a-z_]+)'/g
const SUFFIXES = { counter: /_total$/, histogram: /_(bucket|sum|count)$/, gauge: /$/ } as const
/** Of Prometheus, not of ours. */
const LABELS = new Set(['le', 'job', 'instance'])

/** What our sources count, by name: the kind, and the text that declares it. */
function declared(): Map<string, { kind: keyof typeof SUFFIXES; source: string }> {
  const found = new Map<string, { kind: keyof typeof SUFFIXES; source: string }>()
  for (const file of projectFiles().filter((each) => each.endsWith('.ts') && !isTestCode(each) && !each.startsWith('dashboard/web/'))) {
    const source = readProjectFile(file)
    for (const [, kind, name] of source.matchAll(DECLARED)) found.set(`fleetpulse_${name}`, { kind: kind as keyof typeof SUFFIXES, source })
  }
  return found
}

test('the dashboard asks for nothing that is not counted, by labels that there are', async () => {
  const ours = declared()
  const metrics = new Metrics()
  metrics.collectProcess()
  const ofProcess = new Set((await metrics.families()).map(({ name }) => name))
  const { panels } = JSON.parse(readProjectFile('deploy/grafana/agents.json')) as { panels: Panel[] }
  assert.deepEqual(
    panels.filter(({ type }) => type === 'row').map(({ title }) => title),
    ['Agents', 'Event rates', 'System resources', 'Communication latency'],
  )
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const { title, targets = [] } of panels)
    for (const { expr, legendFormat } of targets) {
      const names = expr.match(/\b(fleetpulse|process|nodejs)_[a-z0-9_]+/g) ?? []
      assert.ok(names.length > 0, `${title}: ${expr}`)
      const labels = [
        ...(/by \(([^)]*)\)/.exec(expr)?.[1] ?? '').split(','),
        ...[...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, name]) => name),
      ]
      for (const name of names) {
        if (ofProcess.has(name)) continue
        const base = ours.has(name) ? name : name.replace(SUFFIXES.histogram, '')
        const metric = ours.get(base)
        assert.ok(metric !== undefined, `${title}: nobody counts ${name}`)
        assert.match(name, SUFFIXES[metric.kind], title)
        for (const label of labels.map((each) => each?.trim() ?? '').filter((each) => each !== '' && !LABELS.has(each)))
          assert.match(metric.source, new RegExp(`'${label}'|\\b${label}:`), `${title}: ${name} has no label ${label}`)
      }
    }
})

test('Prometheus asks every 15 seconds, the agents by a job of that name', () => {
  const scrape = readProjectFile('deploy/prometheus.yml')
  assert.match(scrape, /^ {2}scrape_interval: 15s$/m)
  assert.match(scrape, /- job_name: agents\n {4}metrics_path: \/metrics\n {4}static_configs:\n {6}- targets: \['agent-orchestrator:8090'\]/)
})
