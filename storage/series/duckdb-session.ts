import type { Clock } from '../../kernel/time.ts'
import type { SeriesConfig } from './config.ts'
import { Catalogue } from './duckdb-catalogue.ts'
import { loadErasures } from './duckdb-erasure.ts'
import { DuckdbFile, type FileConnection } from './duckdb-file.ts'
import { IdentityProbe } from './duckdb-identities.ts'
import { Readers } from './duckdb-readers.ts'
import { SeriesWriter } from './duckdb-writer.ts'
import { Erasures } from './erasures.ts'

/** Everything that lives as long as the file is open. After a fatal error of DuckDB it is closed as a whole and opened anew. */
export class DuckdbSession {
  readonly file: DuckdbFile
  readonly catalogue: Catalogue
  readonly writeConnection: FileConnection
  readonly writer: SeriesWriter
  readonly readers: Readers
  readonly probe: IdentityProbe
  readonly erasures: Erasures

  private constructor(parts: Pick<DuckdbSession, 'file' | 'catalogue' | 'writeConnection' | 'writer' | 'readers' | 'probe' | 'erasures'>) {
    this.file = parts.file
    this.catalogue = parts.catalogue
    this.writeConnection = parts.writeConnection
    this.writer = parts.writer
    this.readers = parts.readers
    this.probe = parts.probe
    this.erasures = parts.erasures
  }

  static async open(directory: string, config: SeriesConfig, clock: Clock): Promise<DuckdbSession> {
    const file = await DuckdbFile.open(directory, config)
    try {
      const options = { clock, queryTimeoutMs: config.queryTimeoutMs, readQueueMax: config.readQueueMax }
      const writeConnection = await file.connect()
      const catalogue = new Catalogue(config.columnsMax)
      await catalogue.load(writeConnection.sql)
      const erasures = new Erasures()
      await loadErasures(writeConnection.sql, erasures)
      const writer = await SeriesWriter.open(writeConnection, catalogue, { openColumnsMax: config.openColumnsMax, erasures })
      const connections: FileConnection[] = []
      for (let i = 0; i < config.readConnections; i++) connections.push(await file.connect())
      const readers = new Readers(
        connections.map(({ sql }) => sql),
        options,
      )
      const probe = await IdentityProbe.open(await file.connect(), catalogue, options)
      return new DuckdbSession({ file, catalogue, writeConnection, writer, readers, probe, erasures })
    } catch (error) {
      file.close()
      throw error
    }
  }

  /**
   * Ends queries and frees the file. Neither a write nor a probe may be running.
   * With `fold` the write-ahead log is folded into the file first, off the calling thread; the file is freed even when that fails.
   */
  async close(fold: boolean): Promise<void> {
    await this.readers.close()
    try {
      if (fold) await this.writeConnection.sql.run('CHECKPOINT')
    } finally {
      try {
        this.writer.close()
      } finally {
        this.file.close()
      }
    }
  }
}
