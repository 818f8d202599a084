import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { hostCommand } from './host-command.ts'
import { tryLock } from './lock.ts'
import { alreadyRunning } from './platform.ts'
import { lockPathOf } from './run-file.ts'

const MARKER = '.swarm-demo'

/**
 * An empty home folder for a demo: `<home>/demo`, with the settings of `home`. The demo before is kept as `demo.previous`; what a
 * killed one left running is ended first.
 * @throws UserError when a demo is running, or the folder is somebody else's
 */
export async function freshDemoHome(home: string, cache: string, signal: AbortSignal): Promise<string> {
  const demo = join(home, 'demo')
  if (existsSync(demo) && readdirSync(demo).length > 0) {
    if (!existsSync(join(demo, MARKER))) throw new UserError('demo_folder_taken', `${demo} was not made by the demo, so it is left alone.`, 'Move it away, or take another folder with SWARM_HOME.', EXIT.platform)
    await using lock = await tryLock(lockPathOf(demo))
    if (lock === null) throw alreadyRunning(demo)
    await hostCommand('reclaim', z.unknown(), { env: { SWARM_HOME: demo, SWARM_CACHE: cache }, signal })
    rmSync(join(home, 'demo.previous'), { recursive: true, force: true })
    renameSync(demo, join(home, 'demo.previous'))
  }
  mkdirSync(demo, { recursive: true, mode: 0o700 })
  writeFileSync(join(demo, MARKER), 'Made by "swarm demo"; the next demo moves it to demo.previous.\n')
  const settings = join(home, 'config.yml')
  if (existsSync(settings)) {
    // Its own database, port and folder; all else as the user has it (proxy, authorities, sizes of microVMs).
    const { home: _home, databaseUrl: _database, port: _port, ...kept } = (parse(readFileSync(settings, 'utf8')) ?? {}) as Record<string, unknown>
    writeFileSync(join(demo, 'config.yml'), stringify(kept), { mode: 0o600 })
  }
  return demo
}
