import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { DocumentsConfigSchema, type DocumentsConfig } from '../../storage/documents/config.ts'
import { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'

const defaults = compileSchema(DocumentsConfigSchema)({}) as { value: DocumentsConfig }

/** A folder for embedded documents; `open` may be called again after its documents were stopped, to see what is left on disk. */
export class TemporaryDocuments {
  readonly directory: string

  private constructor(directory: string) {
    this.directory = directory
  }

  static async create(): Promise<TemporaryDocuments> {
    return new TemporaryDocuments(await mkdtemp(join(tmpdir(), 'fleetpulse-broker-')))
  }

  async open(): Promise<LmdbDocuments> {
    const documents = new LmdbDocuments({ directory: this.directory, config: defaults.value, log: silentLogger, metrics: new Metrics() })
    await documents.start()
    return documents
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true })
  }
}
