import type { Work } from '@swarm/contract/runner-protocol.ts'
import type { Template } from '../drivers/driver.ts'
import type { EgressProxy } from '../egress/proxy.ts'
import type { SwarmRoutes } from '../egress/routes.ts'
import type { EgressSecrets } from '../egress/secrets.ts'
import type { Build } from '../images/builds.ts'
import type { BuildProgress } from '../images/image.ts'
import { ensureLayer, SetupUnsuited, type HeldLayer } from '../images/layers.ts'
import { fetchFiles } from './guest-git.ts'
import type { StartedMachine, WorkDependencies } from './machine.ts'

/** As long as a setup may take where it is run for one piece of work. */
export const SETUP_TIMEOUT_MS = 900_000
const STEP_TIMEOUT_MS = 300_000

/** Names of the files are read from stdin, each ended by NUL: they may be more than one frame of the channel holds. */
const DIGESTS = 'cd "$1" && xargs -0 sha256sum --'

/**
 * Leaves on the disk what the setup wrote and nothing else: not the files that it read, which each piece of work checks out, nor temporary
 * ones, nor changes of Swarm's own programs. Then the file system is made read-only, whoever still has it open, so that the copy is whole.
 */
const FINISH = `set -e
cd "$1"; xargs -0 rm -f --; cd /
rm -rf /work/.swarm/layer/opt/upper/swarm
find /tmp /var/tmp -mindepth 1 -delete
sync
echo u > /proc/sysrq-trigger
i=0
until grep -q ' /work ext4 ro' /proc/mounts; do i=$((i + 1)); [ $i -lt 600 ]; sleep 0.05; done`

export interface LayerOptions {
  readonly onProgress: (progress: BuildProgress) => void
  /** Starts the microVM in which it is made. */
  readonly start: (proxy: EgressProxy) => Promise<StartedMachine>
  readonly secrets: EgressSecrets | null
}

/**
 * The layer that stands for running the setup of this work; null when it must be run. Made first, where that may be: in a microVM
 * of its own, which holds only the files that the setup is known to read and reaches only what the setup may reach. So a layer cannot hold
 * what an agent wrote, and is the same whoever's work it was made for (docs/decisions/0017). The caller disposes it once it is copied.
 */
export async function setupLayer(work: Work, template: Template, deps: WorkDependencies, options: LayerOptions): Promise<HeldLayer | null> {
  const { setup, layer } = work
  const { cache, prune } = deps.machines
  if (setup === null || layer === null || cache === null || template.image === null) return null
  const inputs = { imageDigest: template.image.digest, scratchMb: template.size.scratchMb, repository: `${work.projectSlug}/${work.repositorySlug}`, command: setup, inputs: layer.inputs }
  const make = async (disk: string, build: Build): Promise<void> => {
    await makeDisk({ ...work, setup, layer }, disk, build, deps, options)
    void prune()
  }
  try {
    return await ensureLayer(cache, inputs, { onProgress: options.onProgress, signal: deps.stop, make: layer.make ? make : null })
  } catch (error) {
    if (deps.stop.aborted) throw error
    // It is there to save time: without it the work runs the setup itself, and says itself what is wrong then.
    deps.onTrouble(error, 'the layer of a setup could not be made')
    return null
  }
}

async function makeDisk(work: Work & { setup: string; layer: NonNullable<Work['layer']> }, disk: string, build: Build, deps: WorkDependencies, { start, secrets }: LayerOptions): Promise<void> {
  const { machines, permit, stop } = deps
  const routes: SwarmRoutes = { git: machines.routes(work).git }
  const { vm, ended } = await start(await machines.proxy(work, (refusal) => { build.log(`# egress: ${refusal.host}:${refusal.port}: ${refusal.message}`) }, permit, routes, secrets))
  try {
    const names = work.layer.paths.map((path) => `${path}\0`).join('')
    const script = async (step: string, text: string) => {
      const result = await vm.exec({ argv: ['/bin/sh', '-c', text, 'sh', vm.workspace], cwd: '/', stdin: names, timeoutMs: STEP_TIMEOUT_MS, signal: stop })
      if (result.code !== 0) throw new Error(`${step} in the microVM of a layer ended with ${result.code ?? result.signal}: ${result.stderr.slice(-2_000)}`)
      return result.stdout
    }
    await fetchFiles(vm, work, names, stop)
    // From here on code of others runs, which has no business with the repository.
    delete routes.git
    const before = await script('reading the lockfiles', DIGESTS)
    const begun = await vm.exec({ argv: ['perl', '/opt/swarm/prepare.pl', 'layer'], cwd: '/', timeoutMs: STEP_TIMEOUT_MS, signal: stop })
    if (begun.code !== 0) throw new Error(`the layer could not be begun: ${begun.stderr}`)
    build.log(`$ ${work.setup}`)
    const decoder = new TextDecoder()
    const log = (chunk: Uint8Array) => { build.log(decoder.decode(chunk, { stream: true })) }
    const setup = await vm.exec({ argv: ['/bin/sh', '-c', work.setup], cwd: vm.workspace, env: { CI: 'true' }, timeoutMs: SETUP_TIMEOUT_MS, signal: stop, onStdout: log, onStderr: log })
    if (setup.code !== 0) throw new SetupUnsuited(`alone with its lockfiles it ended with ${setup.code ?? setup.signal}\n${(setup.stdout + setup.stderr).slice(-1_500)}`)
    if (await script('reading the lockfiles', DIGESTS) !== before) throw new SetupUnsuited('it changes the files that it reads')
    await script('finishing', FINISH)
    if (vm.saveScratch === undefined) throw new Error(`the driver ${vm.driver} cannot save a disk`)
    await vm.saveScratch(disk)
  } finally {
    await vm[Symbol.asyncDispose]()
    await ended
  }
}
