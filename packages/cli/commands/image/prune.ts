import { z } from 'zod'
import { command } from '../../command.ts'
import { size, table, time } from '../../io.ts'
import { hostCommand } from '../../platform/host-command.ts'

const Pruned = z.object({
  removed: z.array(z.object({ kind: z.enum(['image', 'layer']), key: z.string(), bytes: z.number(), lastUsedAt: z.number() })),
  /** Folders of templates that were removed, and of those that are in use. */
  templates: z.array(z.string()), inUse: z.array(z.string()), beforeBytes: z.number(), afterBytes: z.number(),
})

export const imagePrune = command({
  name: 'image prune',
  summary: 'Removes images, layers and templates beyond the limit of the cache, the least recently used first',
  description: 'The limit is the setting retention.cacheMb. What a running process uses stays, whatever the limit. Runners do the same after each build.',
  examples: [['swarm image prune --dry-run', 'says what would go'], ['swarm image prune --all', 'removes all that nobody uses now']],
  options: [{ flags: '--all', description: 'all that nobody uses, whatever the limit' }, { flags: '--dry-run', description: 'remove nothing' }],
  input: z.object({ all: z.boolean().default(false), dryRun: z.boolean().default(false) }),
  async run({ all, dryRun }, { signal }) {
    const pruned = await hostCommand('image-prune', Pruned, { signal, args: [...all ? ['--all'] : [], ...dryRun ? ['--dry-run'] : []] })
    const { removed, templates, beforeBytes, afterBytes } = pruned
    const did = dryRun ? 'Would remove' : 'Removed'
    return {
      json: { ...pruned, dryRun },
      text: [
        ...removed.length === 0 ? [] : [table(['what', 'key', 'size', 'last used'], removed.map((each) => [each.kind, each.key.slice(0, 12), size(each.bytes), time(each.lastUsedAt)]))],
        `${did} ${removed.length} of images and layers and ${templates.length} templates; images and layers take ${size(beforeBytes)} ${dryRun ? 'and would take' : 'before and'} ${size(afterBytes)} ${dryRun ? 'then' : 'now'}.`,
      ].join('\n'),
    }
  },
})
