import ts from 'typescript'
import { readProjectFile } from './repository.ts'

export interface MeasuredFunction {
  /** `folder/file.ts: name`. */
  name: string
  /** From the line of its head to that of its closing brace. */
  lines: number
}

/** Every function, method and arrow function of a file with its length. What lies inside another function counts into both. */
export function functionsIn(file: string): MeasuredFunction[] {
  const source = ts.createSourceFile(file, readProjectFile(file), ts.ScriptTarget.Latest, true)
  const found: MeasuredFunction[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line
      const last = source.getLineAndCharacterOfPosition(node.getEnd()).line
      found.push({ name: `${file}: ${nameOf(node, source)}`, lines: last - first + 1 })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function nameOf(node: ts.SignatureDeclaration, source: ts.SourceFile): string {
  if (node.name !== undefined) return node.name.getText(source)
  if (ts.isConstructorDeclaration(node)) return 'constructor'
  const { parent } = node
  if (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent))
    return parent.name.getText(source)
  return `function in line ${source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1}`
}
