import type { KeySealer } from '../contracts/key-sealer.ts'
import { PassphraseSealer } from '../provisioning/ca/keys/passphrase-sealer.ts'
import type { BuildContext } from './module.ts'

/** What keys in files of this process's data folder are encrypted with. */
export function keySealer({ config, dataDirectory }: BuildContext): KeySealer {
  return new PassphraseSealer({ config: config.provisioning, dataDir: dataDirectory })
}
