import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statfsSync } from 'node:fs'
import { freemem, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { command } from '../command.ts'
import { CHECKOUT, childEnvironment } from '../config.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { size } from '../io.ts'
import { hostCommand } from '../platform/host-command.ts'
import { missingPackages } from '../platform/packages.ts'

const Probe = z.object({
  drivers: z.array(z.object({ name: z.string(), usable: z.boolean(), detail: z.string() })), kvm: z.object({ works: z.boolean().nullable(), detail: z.string() }),
  cgroups: z.object({ version: z.number().nullable(), cpu: z.boolean(), memory: z.boolean() }), image: z.object({ digest: z.string(), bytes: z.number() }).nullable(), missingPackages: z.array(z.string()),
})

/** Figures measured while the image is built and the demo runs, bytes. */
const NEEDED = { disk: 3e9, memory: 2.5e9, sharedMemory: 1.5e9 } as const

interface Finding { readonly what: string; readonly state: 'ok' | 'note' | 'missing'; readonly detail: string; readonly remedy?: string }

export const doctor = command({
  name: 'doctor',
  summary: 'Says what this machine offers and what is missing; --fix installs it',
  description: 'Exit code 3 when something that microVMs need is missing.',
  examples: [['swarm doctor', 'what works here, and what to do about the rest'], ['sudo swarm doctor --fix', 'installs missing packages of the distribution']],
  options: [{ flags: '--fix', description: 'install what is missing, where this user may' }],
  input: z.object({ fix: z.boolean().default(false) }),
  async run({ fix }, { io, settings, signal }) {
    const { config } = settings()
    if (fix && missingPackages().length > 0) await install(signal)
    const probe = await hostCommand('probe', Probe, { signal })
    const packages = [...new Set([...missingPackages().map(({ name }) => name), ...probe.missingPackages])]
    const qemu = probe.drivers.find(({ name }) => name === 'qemu')
    const disk = freeBytes(config.cache)
    const shared = freeBytes('/dev/shm')
    const key = config.model.apiKey !== undefined
    const findings: Finding[] = [
      { what: 'Node', state: 'ok', detail: process.versions.node },
      packages.length === 0 ? { what: 'packages', state: 'ok', detail: 'all there' }
        : { what: 'packages', state: 'missing', detail: packages.join(' '), remedy: `"sudo swarm doctor --fix", or: sudo apt-get install -y --no-install-recommends ${packages.join(' ')}` },
      qemu?.usable === true ? { what: 'QEMU', state: 'ok', detail: qemu.detail } : { what: 'QEMU', state: 'missing', detail: qemu?.detail ?? 'no driver', remedy: 'install what "packages" names' },
      { what: 'KVM', state: probe.kvm.works === true ? 'ok' : 'note', detail: probe.kvm.works === true ? probe.kvm.detail : `${probe.kvm.detail}; microVMs work without it, slower` },
      firecrackerFinding(probe),
      { what: 'cgroups', state: probe.cgroups.cpu && probe.cgroups.memory ? 'ok' : 'note', detail: probe.cgroups.version === null ? 'none: CPU and memory of microVMs are limited by the VMM alone' : `version ${probe.cgroups.version}; CPU ${probe.cgroups.cpu ? 'yes' : 'no'}, memory ${probe.cgroups.memory ? 'yes' : 'no'}` },
      { what: 'image', state: probe.image ? 'ok' : 'note', detail: probe.image ? `${probe.image.digest.slice(0, 12)}, ${size(probe.image.bytes)}` : 'not built yet: "swarm image build" (needs root)' },
      disk >= NEEDED.disk || probe.image ? { what: 'disk', state: 'ok', detail: `${size(disk)} free for ${config.cache}` } : { what: 'disk', state: 'missing', detail: `${size(disk)} free for ${config.cache}; the image build needs ${size(NEEDED.disk)}`, remedy: 'free space there, or set SWARM_CACHE to a larger disk' },
      { what: 'memory', state: freemem() >= NEEDED.memory ? 'ok' : 'note', detail: `${size(freemem())} free of ${size(totalmem())}${freemem() >= NEEDED.memory ? '' : '; fewer microVMs at once (SWARM_CONCURRENCY) need less'}` },
      { what: 'shared memory', state: shared >= NEEDED.sharedMemory ? 'ok' : 'note', detail: existsSync('/dev/shm') ? `${size(shared)} free in /dev/shm` : 'no /dev/shm: templates lie in the folder for temporary files' },
      { what: 'model', state: key ? 'ok' : 'note', detail: key ? 'ANTHROPIC_API_KEY is set' : 'no ANTHROPIC_API_KEY: only rehearsals (--rehearsal FILE, "swarm demo")' },
    ]
    const healthy = findings.every(({ state }) => state !== 'missing')
    const mark = { ok: io.style('green', '✓'), note: io.style('yellow', '•'), missing: io.style('red', '✗') }
    return {
      json: { healthy, findings, ...probe, missingPackages: packages },
      text: findings.map(({ what, state, detail, remedy }) => `${mark[state]} ${what.padEnd(14)} ${detail}${remedy === undefined ? '' : `\n  ${' '.repeat(14)} → ${remedy}`}`).join('\n'),
      exitCode: healthy ? EXIT.ok : EXIT.platform,
    }
  },
})

/** It is never needed: QEMU does what it does, slower. */
function firecrackerFinding({ drivers, kvm }: z.infer<typeof Probe>): Finding {
  const offer = drivers.find(({ name }) => name === 'firecracker')
  if (offer?.usable !== true) return { what: 'Firecracker', state: 'note', detail: `not used: ${offer?.detail ?? 'no driver'}` }
  if (kvm.works === false) return { what: 'Firecracker', state: 'note', detail: `not used: KVM does not boot a kernel here (${kvm.detail})` }
  return { what: 'Firecracker', state: 'ok', detail: kvm.works === null ? offer.detail : 'firecracker and jailer are there, and KVM boots a kernel' }
}

/** The set-up installs packages for the demo as well: it is the one who knows how. */
async function install(signal: AbortSignal): Promise<void> {
  const child = spawn(process.execPath, [join(CHECKOUT, 'scripts', 'install-packages.mjs')], { cwd: CHECKOUT, env: childEnvironment({}), stdio: ['ignore', 'inherit', 'inherit'], signal })
  child.on('error', () => undefined)
  const [code] = await once(child, 'close') as [number | null]
  if (code !== 0) throw new UserError('packages_not_installed', 'The missing packages could not be installed; the lines above say why.', 'Install them yourself as "swarm doctor" names them, or run it with sudo.', EXIT.platform)
}

function freeBytes(path: string): number {
  let folder = path
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder)
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}
