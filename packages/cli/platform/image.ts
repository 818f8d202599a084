import { z } from 'zod'
import { size, type Io } from '../io.ts'
import { hostCommand } from './host-command.ts'

const Built = z.object({
  image: z.object({ digest: z.string(), bytes: z.number(), suite: z.string(), kernelVersion: z.string(), built: z.boolean(), directory: z.string() }),
  template: z.object({ key: z.string(), built: z.boolean(), driver: z.string() }),
  wallMs: z.number(),
})

/** A build of an image or a layer, as the runner's parts tell it. */
export const Build = z.object({
  id: z.string(), what: z.enum(['image', 'layer']), about: z.string(), startedAt: z.number(), endedAt: z.number().nullable(),
  outcome: z.enum(['running', 'built', 'failed', 'ended']), key: z.string().nullable(), problem: z.string().nullable(), log: z.string(),
})

const PHASES: Readonly<Record<string, string>> = {
  waiting: 'waiting', debian: 'packages of the distribution', kernel: 'kernel', root: 'root file system', initramfs: 'initramfs', probe: 'probing KVM', template: 'template: booting once and saving it', ready: 'ready', notice: 'note',
}

/** Makes sure that the guest image and its template exist, with progress; what is there is not made again. */
export async function ensureImage(io: Io, signal: AbortSignal, options: { refresh?: boolean; env?: Readonly<Record<string, string>> } = {}): Promise<z.output<typeof Built>> {
  let phase = ''
  return await hostCommand('image-build', Built, {
    signal, args: options.refresh === true ? ['--refresh'] : [], ...(options.env === undefined ? {} : { env: options.env }),
    onProgress: (progress) => {
      const bytes = progress.bytes === undefined ? '' : ` (${size(progress.bytes)})`
      const line = `image: ${PHASES[progress.phase] ?? progress.phase}: ${progress.detail}${bytes}`
      if (progress.phase !== phase || progress.phase === 'notice') io.say(line)
      else io.status(line)
      phase = progress.phase
    },
  }).finally(() => { io.status(null) })
}
