import { z } from 'zod'
import { command } from '../../command.ts'
import { size } from '../../io.ts'
import { hostCommand } from '../../platform/host-command.ts'

const Amount = z.object({ blobs: z.number(), refs: z.number(), bytes: z.number() })
const Report = z.object({
  dryRun: z.boolean(), rules: z.object({ blobDays: z.number(), blobMb: z.number(), refDays: z.number() }).loose(),
  planned: Amount.extend({ repositories: z.array(z.object({ name: z.string(), refs: z.number() })) }), removed: Amount.nullable(),
})

export const retentionRun = command({
  name: 'retention run',
  summary: 'Removes old blobs and refs that nothing needs, as the server does daily',
  description: 'What open work, evidence or an approval names stays, whatever its age; rows and events always stay. The limits are the\nsettings retention.* ("swarm config show").',
  examples: [['swarm retention run --dry-run', 'says what would go'], ['swarm retention run', 'removes it']],
  options: [{ flags: '--dry-run', description: 'only say what would go' }],
  input: z.object({ dryRun: z.boolean().default(false) }),
  async run({ dryRun }, { io, signal, settings }) {
    const { home } = settings().config
    const report = await hostCommand('retention', Report, {
      of: 'server', args: dryRun ? ['--dry-run'] : [], env: { SWARM_HOME: home }, signal, onProgress: ({ phase, detail }) => { io.status(`retention: ${phase}: ${detail}`) },
    })
    const { planned, removed } = report
    const { blobs, refs, bytes } = removed ?? planned
    return {
      json: report,
      text: [
        `${removed === null ? 'Would remove' : 'Removed'} ${blobs} blobs (${size(bytes)}) and ${refs} refs.`, ...planned.repositories.map(({ name, refs: count }) => `  ${name}: ${count} refs`),
        `Limits: blobs ${limit(report.rules.blobDays, 'days')}, ${limit(report.rules.blobMb, 'MiB in all')}; refs ${limit(report.rules.refDays, 'days')}.`,
      ].join('\n'),
    }
  },
})

const limit = (value: number, unit: string): string => (value === 0 ? 'without limit' : `${value} ${unit}`)
