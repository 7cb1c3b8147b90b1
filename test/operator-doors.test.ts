import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openssl, run, skipWithout } from '../provisioning/testing/openssl.ts'
import { PlatformProcess } from './testing/platform-process.ts'

/* Devices by file and by operator, with the command and the process users start, and with keys that openssl made. */

const platform = new PlatformProcess()
before(() => platform.start().then(() => undefined), { timeout: 300_000 })
after(() => platform.remove())

const path = (name: string): string => join(platform.folder, name)

interface Answer {
  dryRun: boolean
  summary: Record<string, number>
  rows: object[]
}

async function failing(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, stdout: await platform.cli(...args), stderr: '' }
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string }
  }
}

test('import: a dry run, the import with tokens, the same again, and rows that fail', async () => {
  writeFileSync(path('fleet.csv'), 'id,type,site\nimp-1,generic,north\nimp-2,,south\n')
  const once = async (...args: string[]): Promise<Answer> =>
    JSON.parse(await platform.cli('import', path('fleet.csv'), '--json', ...args)) as Answer
  assert.deepEqual((await once('--dry-run')).summary, { created: 2, changed: 0, unchanged: 0, failed: 0 })
  const created = await once('--tokens', path('tokens.csv'))
  assert.equal(created.summary.created, 2)
  assert.ok(!JSON.stringify(created).includes('token'), 'secrets go to their file alone')
  assert.equal(statSync(path('tokens.csv')).mode & 0o777, 0o600)
  const [header, first] = readFileSync(path('tokens.csv'), 'utf8').split('\n')
  assert.equal(header, 'id,token,expiresAt')
  assert.match(first ?? '', /^imp-1,[\w-]{43},20/)
  assert.deepEqual((await once()).summary, { created: 0, changed: 0, unchanged: 2, failed: 0 })

  writeFileSync(path('bad.csv'), 'id,type\n-x,generic\nimp-3,generic\n')
  const bad = await failing('import', path('bad.csv'))
  assert.equal(bad.code, 1)
  assert.match(bad.stdout, /line 2 \(-x\): id: .*not a device id[^]*1 created, 0 changed, 0 unchanged, 1 failed/)
  writeFileSync(path('broken.csv'), 'name\na\n')
  const broken = await failing('import', path('broken.csv'))
  assert.deepEqual([broken.code, /no column "id"/.test(broken.stderr)], [2, true], broken.stderr)
  assert.equal((await failing('import', path('none.csv'))).code, 2)
})

test('a token by command lets curl enrol over EST, once', { skip: skipWithout('openssl', 'curl') }, async () => {
  await platform.cli('provision', 'register', 'by-token', '--label', 'site=north')
  assert.equal((await platform.get<{ labels: Record<string, string> }>('/devices/by-token')).labels.site, 'north')
  const token = (await platform.cli('provision', 'token', 'by-token')).trim()
  await openssl([
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-384',
    '-nodes',
    '-keyout',
    path('t.key'),
    '-subj',
    '/CN=by-token',
    '-out',
    path('t.csr'),
  ])
  writeFileSync(path('t.b64'), readFileSync(path('t.csr'), 'utf8').replace(/-----[^-]+-----|\s/g, ''))
  const est = [
    '-sS',
    '--fail',
    '--cacert',
    join(platform.data, 'pki', 'ca.pem'),
    '-u',
    `by-token:${token}`,
    '-H',
    'content-type: application/pkcs10',
  ]
  const enrol = [...est, '--data-binary', `@${path('t.b64')}`, `https://localhost:${platform.ready?.https}/.well-known/est/simpleenroll`]
  const first = await run('curl', enrol)
  assert.equal(first.code, 0, first.stderr)
  assert.notEqual((await run('curl', enrol)).code, 0, 'a token works once')
})

test(
  'a request made by openssl, PEM or DER, gets a certificate that openssl verifies; the key never left',
  { skip: skipWithout('openssl') },
  async () => {
    await platform.cli('provision', 'register', 'by-csr')
    await openssl(['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', path('c.key'), '-subj', '/CN=by-csr', '-out', path('c.csr')])
    await openssl(['req', '-in', path('c.csr'), '-outform', 'DER', '-out', path('c.der')])
    for (const file of ['c.csr', 'c.der']) {
      const told = await platform.cli('provision', 'csr', path(file), '--device', 'by-csr', '--out', path('c.pem'))
      assert.match(told, /^by-csr: certificate [0-9A-F]+, valid until/)
      await openssl(['verify', '-CAfile', join(platform.data, 'pki', 'ca.pem'), '-untrusted', path('c.pem'), path('c.pem')])
      const publicKey = (args: string[]): Promise<string> => openssl([...args, '-pubout'])
      assert.equal(await openssl(['x509', '-in', path('c.pem'), '-noout', '-pubkey']), await publicKey(['pkey', '-in', path('c.key')]))
    }
    assert.equal((await platform.get<{ state: string }>('/devices/by-csr')).state, 'provisioned')

    await openssl([
      'req',
      '-new',
      '-newkey',
      'rsa:1024',
      '-nodes',
      '-keyout',
      path('w.key'),
      '-subj',
      '/CN=by-csr',
      '-out',
      path('weak.csr'),
    ])
    await openssl(['req', '-new', '-key', path('c.key'), '-subj', '/CN=somebody-else', '-out', path('other.csr')])
    writeFileSync(path('not.csr'), 'hello there')
    for (const [file, rule] of [
      ['weak.csr', /1024 bits is not accepted/],
      ['other.csr', /names another identity/],
      ['not.csr', /neither PEM nor base64|not a DER/],
    ] as const) {
      const refused = await failing('provision', 'csr', path(file), '--device', 'by-csr')
      assert.equal(refused.code, 2, file)
      assert.match(refused.stderr, rule)
    }
    assert.match((await failing('provision', 'csr', path('c.csr'), '--device', 'nobody')).stderr, /there is no device nobody/)
  },
)
