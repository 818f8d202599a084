import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { isAlive, ownIdentity, type ProcessIdentity } from '../host/processes.ts'

const Identity = z.object({ pid: z.number().int(), startTicks: z.number().int() })

/** What one microVM (or one process that waits to become one) holds on this host. Written before any of it exists. */
export const VmRecord = z.object({
  /** Name of the record and of the process (`swarm-slot-…`). */
  slot: z.string(),
  vmId: z.string().nullable(),
  owner: Identity,
  process: Identity.nullable(),
  /** Folders to remove whole. */
  folders: z.array(z.string()),
  cgroups: z.array(z.string()),
  createdAtMs: z.number(),
})
export type VmRecord = z.infer<typeof VmRecord>

/** A folder with one JSON file per record; every write is a rename, so a kill leaves the old or the new one. */
export interface VmJournal {
  readonly directory: string
  /** With it begin the names of all slots of this journal: what is found on a host (a cgroup, a socket) tells whose it is. */
  readonly slotPrefix: string
  /** A name that no slot has had. */
  newSlot(): string
  add(slot: string, folders: string[]): void
  update(slot: string, change: Partial<Pick<VmRecord, 'vmId' | 'process' | 'cgroups'>>): void
  remove(slot: string): void
  records(): VmRecord[]
}

export function openVmJournal(directory: string, owner: ProcessIdentity = ownIdentity()): VmJournal {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // What a kill left of a write is nobody's; that of a process that lives is about to be renamed.
  for (const name of readdirSync(directory)) {
    const writer = /\.json\.(\d+)-(\d+)\.new$/.exec(name)
    if (writer !== null && !isAlive({ pid: Number(writer[1]), startTicks: Number(writer[2]) })) rmSync(join(directory, name), { force: true })
  }
  const self = ownIdentity()
  const path = (slot: string) => join(directory, `${slot}.json`)
  const write = (record: VmRecord) => {
    const temporary = `${path(record.slot)}.${self.pid}-${self.startTicks}.new`
    writeFileSync(temporary, JSON.stringify(record))
    renameSync(temporary, path(record.slot))
  }
  const slotPrefix = `swarm-slot-${createHash('sha256').update(realpathSync(directory)).digest('hex').slice(0, 4)}`
  return {
    directory, slotPrefix,
    newSlot: () => `${slotPrefix}${randomBytes(4).toString('hex')}`,
    add: (slot, folders) => write({ slot, vmId: null, owner, process: null, folders, cgroups: [], createdAtMs: Date.now() }),
    update: (slot, change) => write({ ...VmRecord.parse(JSON.parse(readFileSync(path(slot), 'utf8'))), ...change }),
    remove: (slot) => rmSync(path(slot), { force: true }),
    records: () => readdirSync(directory).filter((name) => name.endsWith('.json')).flatMap((name) => readRecord(directory, name)),
  }
}

/**
 * One record, or none when its owner has just removed it. One that cannot be read (a power cut may leave an empty file) is that of
 * a dead owner, since a living one writes whole files only: what runs is found by its name.
 */
function readRecord(directory: string, name: string): VmRecord[] {
  try {
    return [VmRecord.parse(JSON.parse(readFileSync(join(directory, name), 'utf8')))]
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    if (!(error instanceof SyntaxError) && !(error instanceof z.ZodError)) throw error
    return [{ slot: name.slice(0, -'.json'.length), vmId: null, owner: { pid: 0, startTicks: 0 }, process: null, folders: [], cgroups: [], createdAtMs: 0 }]
  }
}

/** Folder of the journals of one runner, in its state folder. */
export function journalFolder(stateDir: string): string {
  return join(stateDir, 'vms')
}

/** The journals of every runner whose state folder lies in this folder. */
export function journalsUnder(runners: string): VmJournal[] {
  if (!existsSync(runners)) return []
  return readdirSync(runners).map((name) => journalFolder(join(runners, name))).filter((folder) => existsSync(folder)).map((folder) => openVmJournal(folder))
}
