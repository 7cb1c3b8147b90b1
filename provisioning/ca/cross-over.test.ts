import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemClock } from '../../kernel/time.ts'
import type { TlsMaterial } from '../../kernel/tls.ts'
import type { ProvisioningConfig } from '../config.ts'
import { temporaryFolder, testConfig } from '../testing/station.ts'
import { openStores } from '../testing/stores.ts'
import { AuthorityChanges } from './authority-changes.ts'
import { CertificateAuthority } from './authority.ts'
import { RemoteAuthority } from './remote-authority.ts'
import { ServerCertificate } from './server-certificate.ts'
import { SigningDesk } from './signing-desk.ts'

// What the services wait for does not keep this process alive.
const alive = setInterval(() => undefined, 1_000)
const cleanups: (() => Promise<unknown>)[] = []
after(async () => {
  clearInterval(alive)
  for (const cleanup of cleanups.reverse()) await cleanup()
})

/** A registry and an edge in another process, as far as they share nothing but the documents. */
async function registryAndEdge(changes: Partial<ProvisioningConfig>) {
  const folder = await temporaryFolder()
  cleanups.push(() => rm(folder, { recursive: true, force: true }))
  const stores = await openStores(folder)
  cleanups.push(() => stores.close())
  const config = testConfig({ signingPollMs: 10, authorityPollMs: 20, ...changes })
  const common = { config, clock: systemClock, log: silentLogger, documents: stores.documents }
  const authority = new CertificateAuthority({ ...common, dataDir: join(folder, 'registry'), pkiUrl: () => 'http://pki.example' })
  const desk = new SigningDesk({ ...common, authority })
  const remote = new RemoteAuthority({ ...common, edgeId: 'edge-1', dataDir: join(folder, 'edge') })
  const own = new ServerCertificate({ ...common, authority, metrics: new Metrics() })
  const edge = new ServerCertificate({ ...common, authority: remote, metrics: new Metrics() })
  for (const service of [authority, desk, own, remote, edge]) {
    await service.start()
    cleanups.push(() => service.stop())
  }
  return { authority, own, edge, changes: new AuthorityChanges(authority, config) }
}

/** Resolves when `wanted` is so; looks at each new certificate. */
function until(server: ServerCertificate, wanted: (material: TlsMaterial) => boolean): Promise<TlsMaterial> {
  if (wanted(server.material)) return Promise.resolve(server.material)
  return new Promise<TlsMaterial>((resolve) => {
    const stop = server.onServerCertificate((material) => {
      if (!wanted(material)) return
      stop()
      resolve(material)
    })
  })
}

function count(pem: string | undefined): number {
  return pem?.match(/BEGIN CERTIFICATE/g)?.length ?? 0
}

function signedBy(material: TlsMaterial, ca: X509Certificate): boolean {
  const leaf = new X509Certificate(material.certChainPem)
  return leaf.checkIssued(ca) && leaf.verify(ca.publicKey)
}

test(
  'an edge in another process trusts a new CA before it signs, and gets its own certificate from it, without a restart',
  { timeout: 300_000 },
  async () => {
    const { authority, own, edge, changes } = await registryAndEdge({ crossOverDelayMs: 3_000 })
    const first = edge.material
    assert.equal(count(first.caPem), 2)
    const { issuesFromMs } = await changes.roll()
    const trusting = await until(edge, ({ caPem }) => count(caPem) === 3)
    // Nothing was signed by it so far: what its devices show is known everywhere by then.
    assert.ok(systemClock.nowMs() < issuesFromMs)
    assert.equal(trusting.keyPem, first.keyPem)
    const old = authority.issuers[0].certificate
    const fresh = authority.issuers[1]?.certificate
    assert.ok(fresh !== undefined)
    assert.ok(signedBy(trusting, old))
    for (const server of [edge, own]) {
      const renewed = await until(server, (material) => signedBy(material, fresh))
      assert.equal(count(renewed.caPem), 3)
      assert.equal(renewed.clientIssuersPem, undefined)
    }
    await changes.retire('issuing', 'superseded')
    const after = await until(edge, ({ caPem }) => count(caPem) === 2)
    // The retired CA still leads to the root: it is told apart by who signed.
    assert.equal(after.clientIssuersPem, fresh.toString())
  },
)
