import { accessSync, constants, realpathSync } from 'node:fs'
import { basename, isAbsolute } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { run } from '../../host/run.ts'
import { findTool, FIRECRACKER_TOOLS, missingPackages } from '../../images/tools.ts'

/** The first whose vsock works again after a restore; `PUT /serial` is older. */
export const LEAST_VERSION = '1.16.1'

export interface FirecrackerPaths {
  /** Of the program; `firecracker` on PATH unless given. */
  firecracker?: string | undefined
  /** Of the program; `jailer` on PATH unless given. */
  jailer?: string | undefined
}

export interface FirecrackerBinaries { firecracker: string; jailer: string; version: string }

/** Links are resolved: the jailer names its folders by the file itself. @returns null when it is not there */
function locate(name: 'firecracker' | 'jailer', given: string | undefined): string | null {
  const path = given === undefined ? findTool(name) : given
  if (path === null || (given !== undefined && !isAbsolute(given))) return null
  try {
    accessSync(path, constants.X_OK)
    return realpathSync(path)
  } catch {
    return null
  }
}

/** What is missing for the Firecracker driver, one sentence each with what to do; empty when it can be tried. Nothing is started. */
export function firecrackerProblems(paths: FirecrackerPaths): string[] {
  if (process.platform !== 'linux' || process.arch !== 'x64') return [`it needs Linux on x86_64; this is ${process.platform}/${process.arch}`]
  const problems: string[] = []
  for (const [name, given, variable] of [['firecracker', paths.firecracker, 'SWARM_VM_FIRECRACKER'], ['jailer', paths.jailer, 'SWARM_VM_JAILER']] as const) {
    const path = locate(name, given)
    if (path === null) problems.push(given === undefined ? `${name} is not on PATH: install a release of Firecracker from ${LEAST_VERSION} on, or name the program by ${variable}` : `${variable} is ${given}, which is no program that can be run by that absolute path`)
    else if (name === 'firecracker' && !basename(path).includes('firecracker')) problems.push(`${path} must have "firecracker" in its name: the jailer takes no other`)
  }
  const packages = missingPackages(FIRECRACKER_TOOLS)
  if (packages.length > 0) problems.push(`programs are missing: apt-get install ${packages.join(' ')}`)
  if (process.getuid?.() !== 0) problems.push('the jailer needs root: run the runner as root')
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
  } catch {
    problems.push('/dev/kvm is not there or may not be used: switch on virtualisation in the firmware, load kvm_intel or kvm_amd, or take a machine that offers nested virtualisation')
  }
  return problems
}

/** @throws DomainError driver_unavailable when they are not there, too old, or of two releases */
export async function readBinaries(paths: FirecrackerPaths): Promise<FirecrackerBinaries> {
  const refuse = (problem: string) => new DomainError('driver_unavailable', { driver: 'firecracker', problem })
  const [firecracker, jailer] = [locate('firecracker', paths.firecracker), locate('jailer', paths.jailer)]
  if (firecracker === null || jailer === null) throw refuse(firecrackerProblems(paths).join('; '))
  const [version, jailerVersion] = [await readVersion(firecracker), await readVersion(jailer)]
  if (version === null) throw refuse(`${firecracker} --version names no version`)
  if (isOlder(version, LEAST_VERSION)) throw refuse(`${firecracker} is version ${version}; from ${LEAST_VERSION} on it has a vsock that works after a restore`)
  if (jailerVersion !== version) throw refuse(`${firecracker} is version ${version} and ${jailer} is ${jailerVersion ?? 'unknown'}; both must be of one release`)
  return { firecracker, jailer, version }
}

/** `Firecracker v1.17.0` and `Jailer v1.17.0`; builds between releases have more behind it. */
async function readVersion(program: string): Promise<string | null> {
  const { stdout } = await run([program, '--version'])
  return /\bv(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1] ?? null
}

function isOlder(version: string, least: string): boolean {
  const [own, other] = [version, least].map((each) => each.split(/[.-]/).slice(0, 3).map(Number)) as [number[], number[]]
  const at = own.findIndex((part, index) => part !== other[index])
  return at >= 0 && (own[at] ?? 0) < (other[at] ?? 0)
}
