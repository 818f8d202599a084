import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { parseJson } from '@swarm/core/json.ts'
import { identityOf, isAlive } from './processes.ts'

/** Where the platform of a home folder is found while it runs: `<home>/run/server.json`. */
const RunFile = z.object({
  /** The process that started the platform; it stops the rest when it is asked to (SIGTERM). */
  pid: z.number().int(), startTicks: z.number().nullable(),
  url: z.string(),
  /** rehearsal, or whatever the server's settings say. */
  model: z.string(),
  /** ms since the epoch */
  startedAt: z.number(),
  /** Its processes: pid 0 while one is being started again, how often each was, and how it last ended unasked. */
  processes: z.array(z.object({ name: z.string(), pid: z.number().int(), restarts: z.number().int(), lastEnd: z.string().nullable() })).default([]),
})
export type RunFile = z.infer<typeof RunFile>

const pathOf = (home: string): string => join(home, 'run', 'server.json')
export const lockPathOf = (home: string): string => join(home, 'run', 'lock')

/** Says where the platform of this process is; written whole, and again whenever something of it changes. */
export function writeRunFile(home: string, about: Omit<RunFile, 'pid' | 'startTicks'>): void {
  const path = pathOf(home)
  mkdirSync(join(home, 'run'), { recursive: true, mode: 0o700 })
  const file: RunFile = { pid: process.pid, startTicks: identityOf(process.pid)?.startTicks ?? null, ...about }
  writeFileSync(`${path}.new`, `${JSON.stringify(file)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

export function removeRunFile(home: string): void {
  rmSync(pathOf(home), { force: true })
}

/** The platform that runs on this home; null when there is none, or when the file is of one that has ended. */
export function readRunFile(home: string): RunFile | null {
  let text: string
  try {
    text = readFileSync(pathOf(home), 'utf8')
  } catch {
    return null // none was ever started, or it ended orderly
  }
  const parsed = RunFile.safeParse(parseJson(text))
  return parsed.success && isAlive(parsed.data) ? parsed.data : null
}
