// Types, and the rules that the linter does not have.    node scripts/check/types.mjs [folder with a tsconfig.json]
import { relative, resolve } from 'node:path'
import ts from 'typescript'
import { fail, pass } from './outcome.mjs'

const LONGEST_MESSAGE = 500

/** Who may read settings from the environment: the one reader of each deployable, tests, and git's list of what it passes on. */
const ENVIRONMENT_READERS = /^packages\/([^/]+\/config\.ts|testkit\/.*|git\/run\.ts|.*\.test\.ts|.*\/testing[^/]*\.ts)$|^bench\//

const root = resolve(process.argv[2] ?? '.')
const config = ts.getParsedCommandLineOfConfigFile(resolve(root, 'tsconfig.json'), {}, {
  ...ts.sys,
  onUnRecoverableConfigFileDiagnostic: (diagnostic) => fail([ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n')]),
})
const program = ts.createProgram(config.fileNames, config.options)
const checker = program.getTypeChecker()
const sources = program.getSourceFiles().filter((file) => !file.isDeclarationFile && !file.fileName.includes('/node_modules/'))
const problems = [...config.errors, ...ts.getPreEmitDiagnostics(program)].map(describe)
for (const file of sources) visit(file, file)

if (sources.length === 0) fail(['no source file was read'])
else if (problems.length > 0) fail(problems)
else pass(`${sources.length} files`)

function visit(node, file) {
  if (ts.isExpressionStatement(node) && floats(node.expression)) {
    report(file, node, 'no-floating-promise', 'nobody awaits this promise: await it, hand it on, or give it a .catch()')
  }
  // Tests do it on purpose, to see it refused.
  if (ts.isCallExpression(node) && !file.fileName.endsWith('.test.ts')) checkUnitOfWriting(node, file)
  if (ts.isPropertyAccessExpression(node) && node.getText(file) === 'process.env') checkEnvironment(node, file)
  ts.forEachChild(node, (child) => visit(child, file))
}

/** A statement whose value is a promise that nobody looks at: its failure would end the process, or be lost. */
function floats(expression) {
  const inner = ts.isParenthesizedExpression(expression) ? expression.expression : expression
  if (ts.isVoidExpression(inner) || ts.isAwaitExpression(inner)) return false
  if (ts.isBinaryExpression(inner) && ts.isAssignmentOperator(inner.operatorToken.kind)) return false
  if (ts.isConditionalExpression(inner)) return floats(inner.whenTrue) || floats(inner.whenFalse)
  if (ts.isCallExpression(inner) && ts.isPropertyAccessExpression(inner.expression)) {
    const method = inner.expression.name.text
    if (method === 'catch' && inner.arguments.length > 0) return false
    if (method === 'then' && inner.arguments.length > 1) return false
    if (method === 'finally') return floats(inner.expression.expression)
  }
  return isPromise(checker.getTypeAtLocation(inner))
}

/** Promises only, not every thenable: Fastify's replies and registrations are thenables that need no awaiting. */
function isPromise(type) {
  if (type.isUnion()) return type.types.some(isPromise)
  const symbol = type.getSymbol()
  return symbol?.name === 'Promise' || (type.isClassOrInterface() && (checker.getBaseTypes(type) ?? []).some(isPromise))
}

/** Inside `db.write(async (trx) => …)` only `trx` is used: on SQLite the outer `db` would wait for the unit that waits for it. */
function checkUnitOfWriting(call, file) {
  if (!ts.isPropertyAccessExpression(call.expression) || call.expression.name.text !== 'write') return
  const [unit] = call.arguments
  if (!unit || !(ts.isArrowFunction(unit) || ts.isFunctionExpression(unit))) return
  const database = call.expression.expression
  if (checker.getTypeAtLocation(database).getSymbol()?.name !== 'Database') return
  const name = database.getText(file)
  const look = (node) => {
    if ((ts.isIdentifier(node) || ts.isPropertyAccessExpression(node)) && node.getText(file) === name) {
      report(file, node, 'no-outer-database-in-unit', `"${name}" is used inside its own write(); use the unit's trx`)
      return
    }
    // Skip the name part of a property access: `row.db` is not `db`.
    if (ts.isPropertyAccessExpression(node)) look(node.expression)
    else ts.forEachChild(node, look)
  }
  look(unit.body)
}

/** `{ ...process.env, … }` for a child and looking in PATH read no setting. */
function checkEnvironment(node, file) {
  if (ENVIRONMENT_READERS.test(relative(root, file.fileName))) return
  const { parent } = node
  if (ts.isSpreadAssignment(parent)) return
  const name = ts.isPropertyAccessExpression(parent) ? parent.name.text : ts.isElementAccessExpression(parent) && ts.isStringLiteral(parent.argumentExpression) ? parent.argumentExpression.text : undefined
  if (name !== 'PATH') report(file, node, 'settings-are-read-in-config', 'process.env is read in config.ts alone; take the setting as an argument')
}

function report(file, node, rule, text) {
  const { line, character } = file.getLineAndCharacterOfPosition(node.getStart(file))
  problems.push(`${relative(root, file.fileName)}:${line + 1}:${character + 1} ${rule}: ${text}`)
}

function describe(diagnostic) {
  const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ').slice(0, LONGEST_MESSAGE)
  if (!diagnostic.file) return `TS${diagnostic.code}: ${text}`
  const { line, character } = diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start)
  return `${relative(root, diagnostic.file.fileName)}:${line + 1}:${character + 1} TS${diagnostic.code}: ${text}`
}
