import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { parseJson } from '../errors.ts'
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
})
export type RunFile = z.infer<typeof RunFile>

const pathOf = (home: string): string => join(home, 'run', 'server.json')
export const lockPathOf = (home: string): string => join(home, 'run', 'lock')

export function writeRunFile(home: string, about: Pick<RunFile, 'url' | 'model' | 'startedAt'>): Disposable {
  const path = pathOf(home)
  mkdirSync(join(home, 'run'), { recursive: true, mode: 0o700 })
  const file: RunFile = { pid: process.pid, startTicks: identityOf(process.pid)?.startTicks ?? null, ...about }
  writeFileSync(`${path}.new`, `${JSON.stringify(file)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) }
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
