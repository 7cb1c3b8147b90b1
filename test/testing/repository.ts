import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Made by tools, installed or kept outside the project: never looked into. */
const NOT_OURS = new Set(['node_modules', 'dist', 'data', '.cache', '.git', 'coverage'])

/** The folder that holds package.json and tsconfig.json, wherever the compiled test lies below it. */
export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)))

function findRoot(folder: string): string {
  if (existsSync(join(folder, 'package.json')) && existsSync(join(folder, 'tsconfig.json'))) return folder
  const parent = dirname(folder)
  if (parent === folder) throw new Error('the test does not lie in a checkout')
  return findRoot(parent)
}

/** Every file of the project, relative to its root, as git sees it; without git every file that is not made by a tool. */
export function projectFiles(): string[] {
  const files = filesFromGit() ?? [...filesBelow('')]
  return files.filter((file) => existsSync(join(ROOT, file))).sort()
}

export function readProjectFile(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8')
}

/** Is it test code: a suite, a contract, or what only they use? */
export function isTestCode(file: string): boolean {
  return /(\.test|\.contract|-testing|-child)\.ts$|(^|\/)testing\/|^test\//.test(file)
}

function filesFromGit(): string[] | undefined {
  if (!existsSync(join(ROOT, '.git'))) return undefined
  try {
    const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: ROOT,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 ** 2,
    })
    return listed.split('\0').filter((file) => file !== '')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    if (NOT_OURS.has(entry.name)) continue
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) yield* filesBelow(path)
    else if (entry.isFile()) yield path
  }
}
