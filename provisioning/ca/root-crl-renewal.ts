import { join } from 'node:path'
import { writeFileAtomically } from '../../kernel/files.ts'
import type { AuthorityWorkshop } from './authority-workshop.ts'
import type { HeldCrl, RootCa } from './issuing-ca.ts'
import { writeRegister, type Register } from './register.ts'
import { signRootCrl } from './root-crl.ts'
import { toPem } from './sign-certificate.ts'

/** Has it no CRL yet, or one of which too much is over? Never for a root whose key is elsewhere: its CRL is imported. */
export function isRootCrlDue({ key, crl }: RootCa, nowMs: number, refreshAfterFraction: number): boolean {
  if (key === undefined) return false
  if (crl === undefined || nowMs < crl.thisUpdateMs) return true
  return nowMs >= crl.thisUpdateMs + (crl.nextUpdateMs - crl.thisUpdateMs) * refreshAfterFraction
}

/** Signs the CRLs of the roots that `isDue` picks. */
export async function renewRootCrls(workshop: AuthorityWorkshop, isDue: (root: RootCa) => boolean): Promise<void> {
  let { register } = workshop.pki
  for (const root of workshop.pki.roots) if (isDue(root)) register = await withNewCrl(workshop, root, register)
  await writeRegister(workshop.pki.folder, register)
}

/** Signs the CRL of a root as `register` will have it and writes its file; answers the register that goes with it, which is not written yet. */
export async function withNewCrl({ pki, profile, nowMs }: AuthorityWorkshop, root: RootCa, register: Register): Promise<Register> {
  const { key } = root
  if (key === undefined) return register
  const retirements = new Map(register.issuers.map(({ id, retired }) => [id, retired]))
  const retired = pki.issuers.filter((ca) => ca.root.id === root.id).map((ca) => ({ ...ca, retired: retirements.get(ca.id) ?? null }))
  const times = { nowMs, lifetimeMs: profile.rootCrlLifetimeMs, lastNumber: root.crl?.number ?? 0 }
  return withCrl(pki.folder, root.id, await signRootCrl({ ...root, key }, retired, times), register)
}

/** Writes the file of a root's CRL; answers the register that goes with it. */
export async function withCrl(folder: string, rootId: string, crl: HeldCrl, register: Register): Promise<Register> {
  await writeFileAtomically(join(folder, `${rootId}.crl`), toPem('X509 CRL', crl.der), 0o644)
  // 0 would say that there is none.
  const crlNumber = Math.max(crl.number, 1)
  return { ...register, roots: register.roots.map((root) => (root.id === rootId ? { ...root, crlNumber } : root)) }
}
