// A process that builds the image into a cache, or runs one step of a build, to be killed by build.vm.test.ts; prints a line
// for every progress:   node testing-builder.ts build CACHE   ·   node testing-builder.ts step FOLDER PROGRAM ARGUMENT…
import { ensureImage } from './images.ts'
import { runStep } from './stage.ts'

const [what, folder = '', ...argv] = process.argv.slice(2)
const say = (line: string) => void process.stdout.write(`${line}\n`)
if (what === 'build') {
  const image = await ensureImage({ cache: folder, onProgress: ({ phase }) => say(phase) })
  say(`image ${image.digest}`)
} else await runStep('step', folder, argv as [string, ...string[]], { log: () => {}, logPath: 'none' }, { onStderr: (text) => say(text.trim()) })
