import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { silentLogger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { DocumentsConfigSchema, type DocumentsConfig } from '../config.ts'
import { LmdbDocuments } from '../lmdb-documents.ts'

/** The default settings, with some changed. */
export function documentsConfig(changes: Partial<DocumentsConfig> = {}): DocumentsConfig {
  const checked = compileSchema(DocumentsConfigSchema)({ ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

/** A folder that is gone after the test. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-documents-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export function documentsIn(directory: string, changes: Partial<DocumentsConfig> = {}, metrics = new Metrics()): LmdbDocuments {
  return new LmdbDocuments({ directory, config: documentsConfig(changes), log: silentLogger, metrics })
}

/** A started store in a folder of its own; both are gone after the test. */
export async function lmdbDocuments(
  t: TestContext,
  changes: Partial<DocumentsConfig> = {},
  metrics = new Metrics(),
): Promise<LmdbDocuments> {
  const documents = documentsIn(join(await temporaryFolder(t), 'store'), changes, metrics)
  await documents.start()
  t.after(() => documents.stop())
  return documents
}
