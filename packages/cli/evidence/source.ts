import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { KeyObject } from 'node:crypto'
import type { Config } from '@swarm/contract/config.ts'
import { listEvidenceKeys, showEvidence } from '@swarm/contract/endpoints/evidence.ts'
import { keyIdOf, MAX_BUNDLE_BYTES, readPublicKey } from '@swarm/contract/evidence-envelope.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { userPath } from '../config.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { connect } from '../platform/connect.ts'
import { readRunFile } from '../platform/run-file.ts'

/** Names in an exported folder. */
export const BUNDLE_FILE = 'bundle.json'
export const BLOBS_FOLDER = 'blobs'
export const KEYS_FOLDER = 'keys'

export interface TrustedKey { readonly key: KeyObject; /** Where it was found, in words. */ readonly source: string; readonly trusted: boolean }
export type Keys = ReadonlyMap<string, TrustedKey>

/** A bundle and what lies beside it. */
export interface Source {
  readonly name: string
  readonly bytes: Buffer
  /** The content of a blob, null when it is not there; undefined: no contents were given at all. */
  readonly blob?: (digest: string) => Buffer | null
  /** Every blob that was given, where the set itself is part of the export. */
  readonly given?: readonly string[]
  /** Keys that came with it: they say who may have signed, never that it was them. */
  readonly keys: Keys
}

const CHANGE = /^(CHG|TKT)-[0-9A-Z]{8}$/

/** Reads the bundle of a change from the platform or its stopped home, or a file or folder that was exported. */
export async function openSource(target: string, config: () => Config, signal: AbortSignal): Promise<Source> {
  const path = userPath(target)
  if (CHANGE.test(target)) {
    const { home } = config()
    const blob = (digest: string): Buffer | null => readOrNull(join(home, 'blobs', digest.slice(7, 9), digest.slice(9)))
    return { name: target, bytes: await bundleOfChange(target, config(), signal), blob, keys: new Map() }
  }
  if (!existsSync(path)) throw new UserError('no_such_file', `${target} is neither the id of a change nor a file.`, 'Give an id such as CHG-7Q2M9XKD, or what "swarm change evidence" wrote.')
  if (!statSync(path).isDirectory()) return { name: path, bytes: readBundle(path), keys: new Map() }
  const blobs = join(path, BLOBS_FOLDER)
  const given = existsSync(blobs) ? readdirSync(blobs).map((name) => `sha256:${name}`) : []
  return { name: path, bytes: readBundle(join(path, BUNDLE_FILE)), blob: (digest) => readOrNull(join(blobs, digest.slice(7))), given, keys: keysIn(join(path, KEYS_FOLDER), 'the exported folder itself', false) }
}

/** @throws UserError no_such_file, DomainError evidence_invalid for one that is too large to be ours */
function readBundle(path: string): Buffer {
  if (!existsSync(path)) throw new UserError('no_such_file', `There is no ${path}.`, 'Give a folder or file that "swarm change evidence" wrote.')
  const { size } = statSync(path)
  if (size > MAX_BUNDLE_BYTES) throw new DomainError('evidence_invalid', { problem: `it has ${size} bytes; no bundle has more than ${MAX_BUNDLE_BYTES}` })
  return readFileSync(path)
}

async function bundleOfChange(id: string, config: Config, signal: AbortSignal): Promise<Buffer> {
  if (config.client.server !== undefined || readRunFile(config.home) !== null) return Buffer.from((await connect(config).client.call(showEvidence, { params: { changeId: id } }, { signal })).bundle)
  const kept = join(config.home, 'evidence', `${id}.json`)
  if (existsSync(kept)) return readBundle(kept)
  throw new UserError('not_running', `No platform runs on ${config.home}, and that folder holds no evidence of ${id}.`, 'Start it with "swarm start", name another folder with SWARM_HOME, or give the id of the change (CHG-…), not of the ticket.', EXIT.platform)
}

/** The keys that a bundle may be verified with: the given one alone, else those of the home (and of the platform that runs on it). */
export async function trustedKeys(keyFile: string | undefined, config: () => Config, signal: AbortSignal): Promise<Keys> {
  if (keyFile !== undefined) {
    const path = userPath(keyFile)
    if (!existsSync(path)) throw new UserError('no_such_file', `There is no ${path}.`, 'Give the file of a public key with --key.')
    const key = readPublicKey(readFileSync(path, 'utf8'), path)
    return new Map([[keyIdOf(key), { key, source: path, trusted: true }]])
  }
  const { home, client } = config()
  const keys = new Map(keysIn(join(home, 'keys', 'evidence'), home, true))
  if (client.server === undefined && readRunFile(home) === null) return keys
  for (const { id, publicKey } of (await connect(config()).client.call(listEvidenceKeys, {}, { signal })).items) {
    const key = readPublicKey(publicKey, 'the platform')
    if (keyIdOf(key) === id && !keys.has(id)) keys.set(id, { key, source: 'the platform', trusted: true })
  }
  return keys
}

function keysIn(folder: string, source: string, trusted: boolean): Keys {
  if (!existsSync(folder)) return new Map()
  return new Map(readdirSync(folder).filter((name) => name.endsWith('.pem')).map((name) => {
    const key = readPublicKey(readFileSync(join(folder, name), 'utf8'), join(folder, name))
    return [keyIdOf(key), { key, source, trusted }]
  }))
}

function readOrNull(path: string): Buffer | null {
  return existsSync(path) ? readFileSync(path) : null
}
