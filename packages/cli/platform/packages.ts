import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { CHECKOUT, searchPath } from '../config.ts'

const Package = z.object({ name: z.string(), command: z.string().optional(), file: z.string().optional(), dpkg: z.string().optional(), for: z.string() })

/** The distribution packages of the demo that this machine lacks (the list is the set-up's). */
export function missingPackages(): z.output<typeof Package>[] {
  const table = z.object({ demo: z.array(Package) }).parse(JSON.parse(readFileSync(join(CHECKOUT, 'scripts', 'setup', 'distribution-packages.json'), 'utf8')))
  // Users other than root often lack the sbin folders, where several of these tools live.
  const folders = [...searchPath(), '/usr/local/sbin', '/usr/sbin', '/sbin']
  return table.demo.filter(({ command, file, dpkg }) => {
    if (dpkg !== undefined && existsSync(`/var/lib/dpkg/info/${dpkg}.list`)) return false
    if (command !== undefined && folders.some((folder) => existsSync(join(folder, command)))) return false
    return !(file !== undefined && dpkg === undefined && existsSync(file))
  })
}
