// Makes a fresh machine ready: npm packages with the pinned Node 24, distribution packages, the guest image and its template.
//   node scripts/setup.mjs [--for cli|check|demo|test]      (demo, if not said)
// Runs on the machine's own Node (20 or newer) before anything is installed, so it has no dependencies. What is there already is
// not done again. Registries and package sources are those that npm and apt are set to on this machine.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describeSystem, installPackages, missingOf, packagesFor } from './setup/distribution.mjs'
import { setUpImage } from './setup/image.mjs'
import { lockCheckout } from './setup/lock.mjs'
import { checkPinnedNode, setUpModules } from './setup/modules.mjs'
import { createProgress } from './setup/progress.mjs'
import { SetupError } from './setup/setup-error.mjs'

const PURPOSES = ['cli', 'check', 'demo', 'test']
const OLDEST_NODE = 20

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const progress = createProgress()

try {
  const purpose = readPurpose(process.argv.slice(2))
  requireNode()
  const release = await lockCheckout(root, () => progress.note('… another set-up of this checkout is running; waiting for it'))
  try {
    await setUp(purpose)
  } finally {
    await release()
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`\n${error.message}\n`)
  process.exitCode = 1
}

async function setUp(purpose) {
  const needsVms = purpose === 'demo' || purpose === 'test'
  // First what may be refused: nobody should wait for npm to learn that a package is missing.
  const imagePossible = needsVms && (await setUpDistribution(purpose))
  await setUpModules(root, progress)
  checkPinnedNode(root, progress)
  if (imagePossible && existsSync(join(root, 'packages', 'cli', 'main.ts'))) await setUpImage(root)
}

/** @returns {Promise<boolean>} whether microVMs can run here */
async function setUpDistribution(purpose) {
  const system = describeSystem()
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    progress.note(`This is ${system.name} on ${process.arch}: microVMs need Linux on x86-64. What works here: "npm run check", the tests that start no microVM, the server, the command line and "swarm gate".`)
    return false
  }
  const missing = missingOf(packagesFor(purpose))
  if (missing.length === 0) {
    progress.step('distribution packages').done('all there')
    return true
  }
  if (system.apt) {
    await installPackages(missing, progress)
    return true
  }
  progress.note(`This is ${system.name}; packages are installed by themselves on Debian 12 and Ubuntu only. Install what provides:\n${missing.map((one) => `  ${one.command ?? one.file}  (${one.name} in Debian: ${one.for})`).join('\n')}\nWithout them "npm run check", the server, the command line and "swarm gate" work, and no microVM.`)
  return missing.every(({ name }) => name === 'postgresql')
}

function readPurpose(args) {
  const [flag, value = 'demo', ...rest] = args
  if ((flag === undefined || flag === '--for') && PURPOSES.includes(value) && rest.length === 0) return value
  throw new SetupError(`usage: node scripts/setup.mjs [--for ${PURPOSES.join('|')}]`)
}

function requireNode() {
  if (Number(process.versions.node.split('.')[0]) >= OLDEST_NODE) return
  throw new SetupError(`This is Node ${process.versions.node}; set-up needs ${OLDEST_NODE} or newer (Swarm itself then runs on its own, pinned Node).`)
}
