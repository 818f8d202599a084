import { resolve } from 'node:path'
import { findSample, makeSampleRepository } from './samples.ts'

/* node packages/testkit/samples/main.ts NAME FOLDER: makes the sample's repository; prints one JSON line with what `swarm run` takes. */

const [name = '', folder = '', ...rest] = process.argv.slice(2)
const sample = findSample(name)
if (!sample || folder === '' || rest.length > 0) {
  process.stderr.write('usage: node packages/testkit/samples/main.ts units FOLDER\n')
  process.exit(2)
}
const repository = resolve(folder)
const head = await makeSampleRepository(sample, repository)
process.stdout.write(`${JSON.stringify({ repository, head, spec: sample.spec, script: sample.script })}\n`)
