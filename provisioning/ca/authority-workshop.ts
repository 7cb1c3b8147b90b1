import type { KeyStores } from './keys/key-stores.ts'
import type { Pki } from './load-pki.ts'
import type { CaProfile } from './make-pki.ts'

/** What a change of the CAs works with. */
export interface AuthorityWorkshop {
  pki: Pki
  keys: KeyStores
  profile: CaProfile
  nowMs: number
}
