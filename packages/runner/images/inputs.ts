import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { DomainError } from '@swarm/core/errors.ts'
import { run } from '../host/run.ts'
import { BASE_PACKAGES, IMAGE_FORMAT, KERNEL_MODULES, KERNEL_PACKAGES, NPM_VERSION, VSOCK_MODULES, type ImageExtras } from './image.ts'

const HOST_CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt'

/** What the machine's own apt configuration says about the distribution. */
export interface Distribution {
  suite: string
  /** One-line sources for the suite itself, its updates and its security archive. */
  sources: string[]
  /** `Acquire::…::Proxy` and the like, as apt options. */
  aptOptions: string[]
}

export interface ImageInputs {
  distribution: Distribution
  packages: string[]
  npm: string[]
  nodePath: string
  nodeDigest: string
  caBundle: Buffer
  debianKey: string
}

export function digestOf(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    const bytes = Buffer.from(part)
    hash.update(`${bytes.length}:`).update(bytes)
  }
  return hash.digest('hex')
}

/** @throws DomainError image_unsupported on a machine that is not Debian or Ubuntu on x86_64 */
export async function readDistribution(): Promise<Distribution> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new DomainError('image_unsupported', { problem: `this machine is ${process.platform}/${process.arch}` })
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  const suite = /^VERSION_CODENAME=(\S+)$/m.exec(release)?.[1]
  if (suite === undefined) throw new DomainError('image_unsupported', { problem: '/etc/os-release names no release' })
  const targets = await run(['apt-get', 'indextargets', '--format', '$(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages'])
  const components = new Map<string, Set<string>>()
  for (const line of targets.stdout.split('\n')) {
    const [uri, release, component] = line.split(' ')
    // Only the distribution's own suites: the machine may have other archives beside them.
    if (uri === undefined || release === undefined || component === undefined || ![suite, `${suite}-updates`, `${suite}-security`].includes(release)) continue
    const key = `${uri} ${release}`
    components.set(key, (components.get(key) ?? new Set()).add(component))
  }
  const sources = [...components].map(([key, set]) => `deb ${key} ${[...set].sort().join(' ')}`).sort()
  if (sources.length === 0) throw new DomainError('image_unsupported', { problem: `apt has no source for ${suite}` })
  const config = await run(['apt-config', 'dump'])
  const aptOptions = config.stdout.split('\n').filter((line) => /^Acquire::(https?::)?(Proxy|CaInfo|Verify)/i.test(line) && !line.includes(' "";'))
  return { suite, sources, aptOptions }
}

export async function readInputs(extras: ImageExtras, extraCaFiles: readonly string[]): Promise<ImageInputs> {
  if (!process.versions.node.startsWith('24.')) throw new DomainError('image_unsupported', { problem: `this is Node ${process.versions.node}; the image takes the Node 24 that Swarm runs on` })
  for (const [field, pattern] of [['packages', /^[a-z0-9][a-z0-9.+-]+$/], ['npm', /^(@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*(@[a-z0-9.^~*-]+)?$/i]] as const) {
    const bad = (extras[field] ?? []).find((name) => !pattern.test(name))
    if (bad !== undefined) throw new DomainError('invalid_input', { field: `image.${field} of swarm.yml`, problem: `"${bad}" is not a package name.` })
  }
  const distribution = await readDistribution()
  const packages = [...new Set([...BASE_PACKAGES, ...(extras.packages ?? [])])].sort()
  const npm = [`npm@${NPM_VERSION}`, ...new Set(extras.npm ?? [])].sort()
  const nodeDigest = digestOf(readFileSync(process.execPath))
  const caBundle = Buffer.concat([HOST_CA_BUNDLE, ...extraCaFiles].filter((path, index) => index > 0 || existsSync(path)).map((path) => readFileSync(path)))
  const debianKey = digestOf(JSON.stringify([IMAGE_FORMAT, distribution, packages, KERNEL_PACKAGES, KERNEL_MODULES, VSOCK_MODULES]))
  return { distribution, packages, npm, nodePath: process.execPath, nodeDigest, caBundle, debianKey }
}
