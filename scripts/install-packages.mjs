// Installs the distribution packages of the demo that are missing: what `swarm doctor --fix` runs.
//   node scripts/install-packages.mjs
import { describeSystem, installPackages, missingOf, packagesFor } from './setup/distribution.mjs'
import { createProgress } from './setup/progress.mjs'
import { SetupError } from './setup/setup-error.mjs'

const progress = createProgress()
try {
  const missing = missingOf(packagesFor('demo'))
  const system = describeSystem()
  if (missing.length === 0) progress.note('Nothing is missing.')
  else if (system.apt) await installPackages(missing, progress)
  else throw new SetupError(`This is ${system.name}; packages are installed by themselves on Debian 12 and Ubuntu only. Install what provides: ${missing.map((one) => one.command ?? one.file).join(', ')}.`)
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`\n${error.message}\n`)
  process.exitCode = 1
}
