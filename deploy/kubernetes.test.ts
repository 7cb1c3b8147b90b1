import assert from 'node:assert/strict'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fastify } from 'fastify'
import { parse, parseAllDocuments } from 'yaml'
import { loadConfig, unknownVariables } from '../app/config.ts'
import type { Config } from '../app/config-sections.ts'
import { checkTargets, parseTargets, TARGETS, type Target } from '../app/targets.ts'
import { startCommand } from '../cli/start.ts'
import { operationRoutes } from '../dashboard/api/routes/operations.ts'
import { projectFiles, readProjectFile, ROOT } from '../test/testing/repository.ts'

const FOLDER = 'deploy/kubernetes/'

interface Container {
  name: string
  image: string
  args?: string[]
  command?: string[]
  env?: { name: string; value: string }[]
  envFrom: { configMapRef?: { name: string }; secretRef?: { name: string } }[]
  ports?: { name: string; containerPort: number }[]
  volumeMounts: { name: string; mountPath: string }[]
  securityContext: { readOnlyRootFilesystem: boolean; allowPrivilegeEscalation: boolean }
  lifecycle: { preStop: { exec: { command: string[] } } }
  startupProbe: Probe
  livenessProbe: Probe
  readinessProbe: Probe
}
interface Probe {
  httpGet: { path: string; port: string }
}
interface PodSpec {
  terminationGracePeriodSeconds: number
  securityContext: { runAsNonRoot: boolean }
  containers: Container[]
  initContainers?: Container[]
  volumes: { name: string; secret?: { secretName: string } }[]
}
interface Resource {
  apiVersion: string
  kind: string
  metadata: { name: string }
  data?: Record<string, string>
  stringData?: Record<string, string>
  resources?: string[]
  spec: {
    replicas?: number
    serviceName?: string
    selector: Record<string, string> & { matchLabels: Record<string, string> }
    strategy?: { rollingUpdate: { maxUnavailable: number; maxSurge: number } }
    template: { metadata: { labels: Record<string, string>; annotations: Record<string, string> }; spec: PodSpec }
    volumeClaimTemplates?: { metadata: { name: string } }[]
    ports: { name: string; port: number; targetPort: string }[]
    scaleTargetRef: { kind: string; name: string }
    minReplicas: number
    maxReplicas: number
  }
}

function resourcesOf(file: string): Resource[] {
  return parseAllDocuments(readProjectFile(file)).map((document) => {
    assert.deepEqual(document.errors, [], file)
    return document.toJS() as Resource
  })
}

const manifests = projectFiles().filter((file) => file.startsWith(FOLDER))
const all = manifests.flatMap(resourcesOf)
const of = (kind: string): Resource[] => all.filter((each) => each.kind === kind)
const named = (kind: string, name: string): Resource => {
  const found = of(kind).find(({ metadata }) => metadata.name === name)
  assert.ok(found !== undefined, `there is no ${kind} ${name}`)
  return found
}
const workloads = [...of('Deployment'), ...of('StatefulSet')]

function targetOf({ spec }: Resource): Target {
  const [container] = spec.template.spec.containers
  const [command, option = ''] = container?.args ?? []
  assert.equal(command, startCommand().name())
  assert.ok(
    startCommand().options.some(({ long }) => long === option.split('=')[0]),
    option,
  )
  const [target, ...more] = parseTargets(option.split('=')[1] ?? '')
  assert.ok(target !== undefined && more.length === 0)
  return target
}

/** What a container finds in its environment. */
function environmentOf({ env = [], envFrom }: Container): Record<string, string> {
  const from = envFrom.map(({ configMapRef, secretRef }) =>
    configMapRef === undefined ? named('Secret', secretRef?.name ?? '').stringData : named('ConfigMap', configMapRef.name).data,
  )
  return Object.assign({}, ...from, Object.fromEntries(env.map(({ name, value }) => [name, value]))) as Record<string, string>
}

function configOf(workload: Resource): Config {
  const env = environmentOf(workload.spec.template.spec.containers[0] as Container)
  return loadConfig({ env, file: join(ROOT, 'deploy', 'there-is-none.json') })
}

/** What a process of this target listens on, by its configuration. */
function listens(target: Target, { broker, provisioning, api, platform }: Config): Record<string, number> {
  const operations = { operations: platform.operationsPort }
  if (target === 'dashboard') return { api: api.port }
  if (target === 'edge') return { mqtts: broker.mqttsPort, wss: broker.wssPort, ...operations }
  if (target === 'registry') return { https: provisioning.httpsPort, pki: provisioning.pkiHttpPort, ...operations }
  return operations
}
const portsOf = ({ ports = [] }: Container): Record<string, number> =>
  Object.fromEntries(ports.map(({ name, containerPort }) => [name, containerPort]))

describe('the manifests for Kubernetes', () => {
  test('run every target once, each with a configuration that the platform takes', () => {
    assert.deepEqual(workloads.map(targetOf).sort(), [...TARGETS].sort())
    for (const workload of workloads) {
      const target = targetOf(workload)
      assert.equal(workload.metadata.name, target)
      const [container] = workload.spec.template.spec.containers as [Container]
      const environment = environmentOf(container)
      assert.deepEqual(unknownVariables(environment), [], target)
      const config = configOf(workload)
      checkTargets(config, [target])
      assert.deepEqual(portsOf(container), listens(target, config), target)
      for (const variable of Object.values(environment))
        assert.equal(typeof variable, 'string', `${target}: a number or truth is no variable`)
    }
  })

  test('ask for health where the process answers, and let it stop in its time', async (t) => {
    const server = fastify()
    t.after(() => server.close())
    operationRoutes(server, { metricsText: async () => '', notReady: async () => ({}) })
    const [, cutOffMs = ''] = /STOP_TIMEOUT_MS = ([\d_]+)/.exec(readProjectFile('cli/start.ts')) ?? []
    const stopS = Number(cutOffMs.replaceAll('_', '')) / 1_000
    assert.ok(stopS > 0)
    for (const workload of workloads) {
      const { template } = workload.spec
      const { containers, terminationGracePeriodSeconds } = template.spec
      const [{ startupProbe, livenessProbe, readinessProbe, lifecycle, ...container }] = containers as [Container]
      const config = configOf(workload)
      const isApi = targetOf(workload) === 'dashboard'
      for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe]) {
        assert.equal((await server.inject(httpGet.path)).statusCode, 200, httpGet.path)
        assert.equal(httpGet.port, isApi ? 'api' : 'operations')
      }
      assert.deepEqual([livenessProbe.httpGet.path, readinessProbe.httpGet.path], ['/healthz', '/readyz'])
      assert.equal(isApi ? config.api.host : config.platform.operationsHost, '0.0.0.0', 'the kubelet reaches the address of the pod')
      const scraped = template.metadata.annotations
      assert.equal((await server.inject(scraped['prometheus.io/path'] ?? '')).statusCode, 200)
      assert.equal(Number(scraped['prometheus.io/port']), portsOf(container as Container)[isApi ? 'api' : 'operations'])
      const [, waitS] = lifecycle.preStop.exec.command
      assert.ok(terminationGracePeriodSeconds > stopS + Number(waitS), workload.metadata.name)
    }
  })

  test('keep state below the volume that is mounted, and run as nobody in particular', () => {
    for (const { metadata, spec } of workloads) {
      const { containers, initContainers = [], volumes, securityContext } = spec.template.spec
      assert.equal(securityContext.runAsNonRoot, true)
      const there = new Set([...volumes, ...(spec.volumeClaimTemplates ?? []).map((each) => each.metadata)].map(({ name }) => name))
      for (const container of [...containers, ...initContainers]) {
        assert.ok(
          container.volumeMounts.every(({ name }) => there.has(name)),
          metadata.name,
        )
        assert.deepEqual(
          [container.securityContext.readOnlyRootFilesystem, container.securityContext.allowPrivilegeEscalation],
          [true, false],
        )
        const mounted = container.volumeMounts.map(({ mountPath }) => mountPath)
        const { FLEETPULSE_DATA: data = '', FLEETPULSE_CA_PASSPHRASE_FILE: passphrase } = environmentOf(container)
        assert.ok(
          mounted.some((path) => data.startsWith(`${path}/`)),
          `${metadata.name}: ${data} is in no volume`,
        )
        assert.ok(passphrase === undefined || mounted.some((path) => passphrase.startsWith(`${path}/`)))
      }
      for (const { secret } of volumes) if (secret !== undefined) named('Secret', secret.secretName)
    }
    const passphrase = environmentOf(
      named('StatefulSet', 'registry').spec.template.spec.containers[0] as Container,
    ).FLEETPULSE_CA_PASSPHRASE_FILE
    assert.ok(Object.keys(named('Secret', 'fleetpulse-keys').stringData ?? {}).includes(passphrase?.split('/').at(-1) ?? ''))
    const lasting = workloads.filter(({ spec }) => spec.volumeClaimTemplates !== undefined)
    assert.deepEqual(lasting.map(({ metadata }) => metadata.name).sort(), ['anomaly', 'registry'], 'who has keys of its own keeps them')
  })

  test('name services, budgets and scales of what there is', () => {
    for (const { metadata, spec } of of('Service')) {
      const pods = workloads.find(({ spec: { template } }) =>
        Object.entries(spec.selector).every(([label, value]) => template.metadata.labels[label] === value),
      )
      assert.ok(pods !== undefined, `${metadata.name} leads nowhere`)
      const ports = portsOf(pods.spec.template.spec.containers[0] as Container)
      for (const { port, targetPort } of spec.ports) assert.equal(ports[targetPort], port, metadata.name)
    }
    for (const { spec } of of('StatefulSet')) named('Service', spec.serviceName ?? '')
    for (const { spec } of of('PodDisruptionBudget'))
      assert.ok(workloads.some(({ spec: { selector } }) => JSON.stringify(selector) === JSON.stringify(spec.selector)))
    const scaled = of('HorizontalPodAutoscaler').map(({ spec: { scaleTargetRef, minReplicas, maxReplicas } }) => {
      assert.equal(named(scaleTargetRef.kind, scaleTargetRef.name).spec.replicas, undefined, 'two would set the count')
      assert.ok(minReplicas >= 2 && maxReplicas > minReplicas)
      return scaleTargetRef.name
    })
    assert.deepEqual(scaled.sort(), ['agents', 'edge', 'processing'])
    assert.equal(named('StatefulSet', 'registry').spec.replicas, 1)
    for (const { spec } of of('Deployment')) assert.deepEqual(spec.strategy?.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 })
  })

  test('are applied together, but for the example of secrets', () => {
    const [kustomization] = of('Kustomization')
    const files = manifests.map((file) => file.slice(FOLDER.length))
    assert.deepEqual(
      kustomization?.resources?.toSorted(),
      files.filter((file) => !/^(kustomization|secret\.example)\.yaml$/.test(file)).toSorted(),
    )
    for (const value of of('Secret').flatMap(({ stringData }) => Object.entries(stringData ?? {})))
      if (/PASSWORD|URL|passphrase|token/.test(value[0])) assert.match(value[1], /replace-me/, `${value[0]} looks like a real one`)
  })
})

test('the other files are YAML, too', () => {
  for (const file of projectFiles().filter((each) => each.startsWith('deploy/') && /\.ya?ml$/.test(each) && !each.startsWith(FOLDER)))
    assert.equal(typeof parse(readProjectFile(file)), 'object', file)
})

test('the image holds what the launcher needs, and is asked for health where the platform answers', () => {
  const file = readProjectFile('deploy/Dockerfile')
  const { version } = JSON.parse(readProjectFile('package.json')) as { version: string }
  const [kustomization] = resourcesOf(`${FOLDER}kustomization.yaml`) as unknown as [{ images: { newTag: string }[] }]
  assert.equal(kustomization.images[0]?.newTag, version)
  const copied = [...file.matchAll(/^COPY --from=build (.+) \S+$/gm)]
    .flatMap(([, paths = '']) => paths.split(' '))
    .map((path) => path.replace('/build/', ''))
  assert.ok(
    ['node_modules', 'dist', 'fleetpulse', 'package.json'].every((path) => copied.includes(path)),
    copied.join(),
  )
  for (const path of copied) assert.ok(existsSync(join(ROOT, path)), path)
  const launcher = readProjectFile('fleetpulse')
  assert.ok(launcher.includes('dist/cli/main.js') && (statSync(join(ROOT, 'fleetpulse')).mode & 0o111) !== 0)
  assert.match(file, /^USER node$/m)
  const config = loadConfig({ env: {}, file: join(ROOT, 'deploy', 'there-is-none.json') })
  const ports = TARGETS.flatMap((target) => Object.values(listens(target, config)))
  assert.deepEqual(new Set(/^EXPOSE (.+)$/m.exec(file)?.[1]?.split(' ').map(Number)), new Set(ports))
  assert.match(file, new RegExp(`HEALTH_URL=http://127\\.0\\.0\\.1:${config.api.port}/readyz$`, 'm'))
  const [, data = ''] = /FLEETPULSE_DATA=(\S+)/.exec(file) ?? []
  const [, volume = ''] = /^VOLUME (\S+)$/m.exec(file) ?? []
  assert.ok(data.startsWith(`${volume}/`))
  assert.equal(named('ConfigMap', 'fleetpulse').data?.FLEETPULSE_DATA, data)
})
