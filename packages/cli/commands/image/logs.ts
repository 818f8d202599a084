import { z } from 'zod'
import { command } from '../../command.ts'
import { time } from '../../io.ts'
import { hostCommand } from '../../platform/host-command.ts'
import { Build } from '../../platform/image.ts'

const Log = z.object({ build: Build, text: z.string() })

export const imageLogs = command({
  name: 'image logs',
  summary: 'Shows the log of a build of an image or a layer',
  examples: [['swarm image logs', 'of the newest build'], ['swarm image logs 4f2a9c01d3b7', 'of the image or layer whose key begins so']],
  arguments: [{ name: 'which', description: 'a build, or the beginning of the key of an image or layer ("swarm image list")', optional: true }],
  input: z.object({ which: z.string().regex(/^[0-9a-f-]+$/, 'give the id of a build or the key of an image').optional() }),
  async run({ which }, { signal }) {
    const { build, text } = await hostCommand('image-logs', Log, { signal, args: which === undefined ? [] : [which] })
    return { json: { build, text }, text: `${text}build ${build.id} of ${time(build.startedAt)}: ${build.outcome}` }
  },
})
