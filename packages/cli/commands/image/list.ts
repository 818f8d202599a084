import { z } from 'zod'
import { command } from '../../command.ts'
import { size, table, time } from '../../io.ts'
import { hostCommand } from '../../platform/host-command.ts'

const Listed = z.object({
  images: z.array(z.object({ digest: z.string(), bytes: z.number(), suite: z.string(), kernelVersion: z.string(), builtAt: z.number() })),
  templates: z.array(z.object({ key: z.string(), imageDigest: z.string(), vcpus: z.number(), memoryMb: z.number(), scratchMb: z.number(), bytes: z.number(), inUse: z.boolean(), builtAt: z.number() })),
})

export const imageList = command({
  name: 'image list',
  summary: 'Lists images and templates in the cache',
  examples: [['swarm image list', 'what exists, with sizes']],
  input: z.object({}),
  async run(_, { signal }) {
    const { images, templates } = await hostCommand('image-list', Listed, { signal })
    const text = images.length === 0 ? 'No image yet; "swarm image build" makes one.' : [
      table(['image', 'size', 'suite', 'kernel', 'built'], images.map((each) => [each.digest.slice(0, 12), size(each.bytes), each.suite, each.kernelVersion, time(each.builtAt)])), '',
      table(['template', 'of image', 'vcpus', 'memory', 'size', 'in use', 'built'], templates.map((each) => [each.key.slice(0, 12), each.imageDigest.slice(0, 12), each.vcpus, `${each.memoryMb} MB`, size(each.bytes), each.inUse ? 'yes' : 'no', time(each.builtAt)])),
    ].join('\n')
    return { json: { images, templates }, text }
  },
})
