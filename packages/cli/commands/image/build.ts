import { z } from 'zod'
import { command } from '../../command.ts'
import { duration, size } from '../../io.ts'
import { ensureImage } from '../../platform/image.ts'

export const imageBuild = command({
  name: 'image build',
  summary: 'Builds the image that microVMs start from, and its template',
  description: 'What exists and is up to date is not built again. Needs root the first time, and about 2 GB while it builds.',
  examples: [['swarm image build', 'builds what is missing, with progress'], ['swarm image build --refresh', 'takes new packages of the distribution']],
  options: [{ flags: '--refresh', description: 'fetch the distribution\'s packages anew' }],
  input: z.object({ refresh: z.boolean().default(false) }),
  async run({ refresh }, { io, signal }) {
    const built = await ensureImage(io, signal, { refresh })
    return {
      json: built,
      text: `image ${built.image.digest.slice(0, 12)} (${size(built.image.bytes)}, ${built.image.suite}, kernel ${built.image.kernelVersion}) ${built.image.built ? 'built' : 'was there'}; template for ${built.template.driver} ${built.template.built ? 'built' : 'was there'}; ${duration(built.wallMs)}`,
    }
  },
})
