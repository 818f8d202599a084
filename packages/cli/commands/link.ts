import { lstatSync, mkdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { command } from '../command.ts'
import { CHECKOUT, searchPath, userPath } from '../config.ts'
import { UserError } from '../errors.ts'

export const link = command({
  name: 'link',
  summary: 'Makes "swarm" a command of yours, by a link in ~/.local/bin',
  examples: [['swarm link', 'for this user'], ['sudo swarm link --folder /usr/local/bin', 'for everybody']],
  options: [{ flags: '--folder <path>', description: 'where the link goes (~/.local/bin unless given)' }],
  input: z.object({ folder: z.string().optional() }),
  async run({ folder }) {
    const bin = folder === undefined ? join(homedir(), '.local', 'bin') : userPath(folder)
    const path = join(bin, 'swarm')
    const target = join(CHECKOUT, 'swarm')
    const there = lstatSync(path, { throwIfNoEntry: false })
    if (there && !there.isSymbolicLink()) throw new UserError('file_exists', `${path} exists and is no link, so it was left alone.`, 'Move it away, or name another folder with --folder.')
    mkdirSync(bin, { recursive: true })
    if (!there || readlinkSync(path) !== target) {
      if (there) unlinkSync(path)
      symlinkSync(target, path)
    }
    const inPath = searchPath().includes(bin)
    return { json: { path, target, inPath }, text: `${path} → ${target}${inPath ? '' : `\n${bin} is not in your PATH: add it in your shell's profile.`}` }
  },
})
