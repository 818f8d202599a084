import { z } from 'zod'
import { command } from '../../command.ts'
import { size, table, time } from '../../io.ts'
import { hostCommand } from '../../platform/host-command.ts'
import { Build } from '../../platform/image.ts'

const Kept = { bytes: z.number(), builtAt: z.number(), lastUsedAt: z.number(), held: z.string().nullable(), useless: z.string().nullable() }
const Listed = z.object({
  images: z.array(z.object({ digest: z.string(), about: z.string(), suite: z.string(), kernelVersion: z.string(), versions: z.object({ packages: z.record(z.string(), z.string()), npm: z.record(z.string(), z.string()) }), ...Kept })),
  layers: z.array(z.object({ key: z.string(), imageDigest: z.string(), repository: z.string(), command: z.string(), problem: z.string().nullable(), ...Kept })),
  templates: z.array(z.object({ key: z.string(), imageDigest: z.string(), vcpus: z.number(), memoryMb: z.number(), scratchMb: z.number(), bytes: z.number(), inUse: z.boolean(), builtAt: z.number() })),
  builds: z.array(Build),
  /** Shared parts once. */
  totalBytes: z.number(), limitBytes: z.number().nullable(),
})
/** Builds that people are shown; --json has all that are kept. */
const SHOWN_BUILDS = 5
const SHOWN_CHARACTERS = 48

export const imageList = command({
  name: 'image list',
  summary: 'Lists images, layers of setups, templates and builds in the cache of this host',
  description: 'Images share the packages they have in common: the sizes add up to more than the total. With --json, every installed package and its version.',
  examples: [['swarm image list', 'what exists, with sizes, last use and why it is kept']],
  input: z.object({}),
  async run(_, { signal }) {
    const listed = await hostCommand('image-list', Listed, { signal })
    const { images, layers, templates, builds } = listed
    const short = (key: string): string => key.slice(0, 12)
    const cut = (text: string): string => text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
    const kept = (each: { held: string | null; useless: string | null }): string => each.held ?? each.useless ?? '-'
    const sections = [
      table(['image', 'size', 'what', 'suite', 'kernel', 'last used', 'kept because'], images.map((each) => [short(each.digest), size(each.bytes), cut(each.about), each.suite, each.kernelVersion, time(each.lastUsedAt), kept(each)])),
      ...layers.length === 0 ? [] : [table(['layer', 'of image', 'size', 'repository', 'setup', 'last used', 'kept because'], layers.map((each) => [short(each.key), short(each.imageDigest), each.problem === null ? size(each.bytes) : 'none', each.repository, cut(each.command), time(each.lastUsedAt), each.problem === null ? kept(each) : `not used: ${each.problem.split('\n')[0] ?? ''}`]))],
      table(['template', 'of image', 'vcpus', 'memory', 'size', 'in use', 'built'], templates.map((each) => [short(each.key), short(each.imageDigest), each.vcpus, `${each.memoryMb} MB`, size(each.bytes), each.inUse ? 'yes' : 'no', time(each.builtAt)])),
      ...builds.length === 0 ? [] : [table(['build', 'of', 'what', 'started', 'outcome'], builds.slice(0, SHOWN_BUILDS).map((each) => [each.id, each.what, cut(each.about), time(each.startedAt), each.outcome === 'built' ? `built ${short(each.key ?? '')}` : each.outcome]))],
      `images and layers take ${size(listed.totalBytes)} of ${listed.limitBytes === null ? 'the disk, without a limit' : size(listed.limitBytes)}`,
    ]
    return { json: listed, text: images.length + builds.length === 0 ? 'No image yet; "swarm image build" makes one.' : sections.join('\n\n') }
  },
})
