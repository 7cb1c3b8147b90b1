import ts from 'typescript'
import { isTestCode, projectFiles, readProjectFile } from './repository.ts'

/** A stable error code as the sources raise it. */
export interface RaisedCode {
  code: string
  file: string
  /** The error class it is raised with; undefined where an answer is written without one. */
  errorClass: string | undefined
}

const CODE = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/

/** Every code in the sources: what is given to an error's constructor, or to an answer, as a code. */
export function raisedCodes(): RaisedCode[] {
  const files = projectFiles().filter(
    (file) => file.endsWith('.ts') && !file.startsWith('dashboard/web/') && !file.startsWith('benchmarks/') && !isTestCode(file),
  )
  return files.flatMap((file) => codesIn(file, ts.createSourceFile(file, readProjectFile(file), ts.ScriptTarget.Latest, true)))
}

function codesIn(file: string, source: ts.SourceFile): RaisedCode[] {
  const found: RaisedCode[] = []
  const visit = (node: ts.Node): void => {
    const place = placeOfCode(node)
    if (place !== undefined) for (const code of literalsIn(place.node)) found.push({ code, file, errorClass: place.errorClass })
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Where a node holds a code: `new SomeError(CODE, …)`, `super(CODE, …)`, `{ code: CODE }` given to an error, `sendProblem(reply, status, CODE)`. */
function placeOfCode(node: ts.Node): { node: ts.Node; errorClass: string | undefined } | undefined {
  if (ts.isNewExpression(node) && /Error$/.test(node.expression.getText())) {
    const [first] = node.arguments ?? []
    return first === undefined ? undefined : { node: first, errorClass: node.expression.getText() }
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.SuperKeyword) {
    const [first] = node.arguments
    const name = enclosing(node, ts.isClassDeclaration)?.name?.text
    return first === undefined || name === undefined || !name.endsWith('Error') ? undefined : { node: first, errorClass: name }
  }
  if (ts.isPropertyAssignment(node) && node.name.getText() === 'code')
    return { node: node.initializer, errorClass: enclosing(node, ts.isNewExpression)?.expression.getText() }
  if (ts.isCallExpression(node) && node.expression.getText() === 'sendProblem' && node.arguments[2] !== undefined)
    return { node: node.arguments[2], errorClass: undefined }
  return undefined
}

/** The codes an expression can have as its value: a literal, either side of a choice, the fallback of `??`. */
function literalsIn(node: ts.Node): string[] {
  if (ts.isStringLiteral(node)) return CODE.test(node.text) ? [node.text] : []
  if (ts.isConditionalExpression(node)) return [...literalsIn(node.whenTrue), ...literalsIn(node.whenFalse)]
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken) return literalsIn(node.right)
  return []
}

function enclosing<T extends ts.Node>(node: ts.Node, is: (candidate: ts.Node) => candidate is T): T | undefined {
  for (let parent = node.parent as ts.Node | undefined; parent !== undefined; parent = parent.parent as ts.Node | undefined)
    if (is(parent)) return parent
  return undefined
}
