import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { DomainError } from '@swarm/core/errors.ts'
import type { Secret } from '@swarm/core/secret.ts'
import { createFile, readIfThere } from '../../files.ts'
import { KEY_BYTES, wrappingKey, type WrappingKey } from './envelope.ts'

/** A program that has not printed its keys by then will not, ms. */
const COMMAND_MS = 30_000
const COMMAND_BYTES = 64 * 1024
/** Number that orders keys, and id. */
const KEY_FILE = /^(\d{4})-([0-9a-f]{16})\.key$/

/** Where keys of the installation come from. */
export interface KeySource {
  /** For people. */
  readonly name: string
  /** All of them, the one for new secrets first. @throws DomainError secret_key_invalid */
  read(): Promise<WrappingKey[]>
  /** Makes a new first one. @throws DomainError secret_key_elsewhere where Swarm does not keep the keys */
  make(): Promise<void>
}

/** The keys of an installation, kept once they were read; one that is not among them is looked for once more. */
export interface KeyRing {
  readonly source: Pick<KeySource, 'name' | 'make'>
  /**
   * All keys, the one for new secrets first.
   * @param needed ids of which none may be missing
   * @throws DomainError secret_key_invalid, secret_key_unknown
   */
  keys(needed: readonly string[]): Promise<{ readonly first: WrappingKey; readonly byId: ReadonlyMap<string, WrappingKey> }>
  /** Reads them anew at the next call. */
  forget(): void
  /** Whether there is none yet. @throws DomainError secret_key_invalid */
  isEmpty(): Promise<boolean>
}

export function createKeyRing(source: KeySource): KeyRing {
  let known: Promise<WrappingKey[]> | null = null
  const read = (): Promise<WrappingKey[]> => {
    const reading = source.read()
    known = reading
    // A failure is not kept: the next call tries again.
    reading.catch(() => { if (known === reading) known = null })
    return reading
  }
  return {
    source,
    forget: () => { known = null },
    isEmpty: async () => (await (known ?? read())).length === 0,
    async keys(needed) {
      const has = (keys: readonly WrappingKey[]): boolean => needed.every((id) => keys.some((key) => key.id === id))
      let keys = await (known ?? read())
      // Another process of this installation may have made it since.
      if (!has(keys)) keys = await read()
      const byId = new Map(keys.map((key) => [key.id, key]))
      const missing = [...new Set(needed)].filter((id) => !byId.has(id))
      if (missing.length > 0) throw new DomainError('secret_key_unknown', { keyIds: missing.join(', '), source: source.name })
      const [first] = keys
      if (first === undefined) throw new DomainError('secret_key_invalid', { source: source.name, problem: 'there is none' })
      return { first, byId }
    },
  }
}

/** The source that the settings name: keys themselves, a program that prints them, or files of the home folder. */
export function keySourceOf(settings: { readonly keys?: Secret | undefined; readonly keyCommand?: readonly string[] | undefined }, home: string): KeySource {
  const { keys, keyCommand } = settings
  if (keys !== undefined) return elsewhere('the setting secrets.keys', async () => keys.reveal())
  if (keyCommand !== undefined) return elsewhere(`the program ${keyCommand[0] ?? ''} (secrets.keyCommand)`, () => printed(keyCommand))
  return keyFiles(join(home, 'keys', 'secrets'))
}

function elsewhere(name: string, text: () => Promise<string>): KeySource {
  return {
    name,
    read: async () => {
      const given = (await text().catch((error: unknown) => { throw invalid(name, error instanceof Error ? error.message : String(error)) })).split(/[\s,]+/).filter((word) => word !== '')
      return given.map((word) => parse(word, name))
    },
    make: async () => { throw new DomainError('secret_key_elsewhere', { source: name }) },
  }
}

/** No shell, and nothing of what it printed goes into an error. */
async function printed([file = '', ...args]: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)(file, args, { timeout: COMMAND_MS, maxBuffer: COMMAND_BYTES })).stdout
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'a signal'
    throw new Error(`it ended with ${code}`)
  }
}

/**
 * Keys as files `<number>-<id>.key` of a folder, the highest number first. A new key is a file more and never in the place of
 * another, so that no two processes can lose each other's.
 */
function keyFiles(folder: string): KeySource {
  const name = `the folder ${folder}`
  const files = async (): Promise<RegExpExecArray[]> => {
    const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return []
      throw error
    })
    return names.sort().reverse().map((each) => KEY_FILE.exec(each)).filter((match) => match !== null)
  }
  return {
    name,
    read: async () => Promise.all((await files()).map(async ([file, , id]) => {
      const key = parse((await readIfThere(join(folder, file)) ?? '').trim(), `${folder}/${file}`)
      if (key.id !== id) throw invalid(`${folder}/${file}`, 'it holds another key than its name says')
      return key
    })),
    async make() {
      const number = Number((await files())[0]?.[1] ?? 0) + 1
      const key = wrappingKey(randomBytes(KEY_BYTES))
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await createFile(join(folder, `${String(number).padStart(4, '0')}-${key.id}.key`), `${Buffer.from(key.bytes).toString('base64')}\n`, 0o600)
    },
  }
}

function parse(text: string, source: string): WrappingKey {
  const bytes = /^[A-Za-z0-9+/]{43}=$/.test(text) ? Buffer.from(text, 'base64') : null
  if (bytes?.length !== KEY_BYTES) throw invalid(source, `a key is no base64 of ${KEY_BYTES} bytes`)
  return wrappingKey(bytes)
}

const invalid = (source: string, problem: string): DomainError => new DomainError('secret_key_invalid', { source, problem })
