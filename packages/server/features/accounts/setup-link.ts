import { randomBytes, randomUUID } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database } from '../../db/database.ts'
import { hashToken } from '../../http/tokens.ts'
import { newId } from '../../ids.ts'
import { anyUser } from './queries.ts'

const LIFE_MS = 72 * 60 * 60_000
const TOKEN = /swarm_setup_[A-Za-z0-9_-]{43}/

export const setupLinkPath = (home: string): string => join(home, 'setup-link')

/**
 * While nobody has an account, `<home>/setup-link` (0600) holds the link by which the first one is made: a super_admin. Its token is
 * in no log and, but for its hash, not in the database. The file comes first and the row after it, so that a stop in between is mended here.
 * Called at every start and whenever the link may have run out; removes the file once there is a user.
 */
export async function ensureSetupLink(db: Database, home: string, baseUrl: string, now: number): Promise<void> {
  const path = setupLinkPath(home)
  if (await anyUser(db.read)) {
    await rm(path, { force: true })
    return
  }
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const held = TOKEN.exec(text)?.[0]
  const known = held === undefined ? undefined : await db.read.selectFrom('invitations').select('expires_at').where('token_hash', '=', hashToken(held)).where('accepted_at', 'is', null).where('revoked_at', 'is', null).executeTakeFirst()
  const usable = known !== undefined && known.expires_at > now
  const token = usable && held !== undefined ? held : `swarm_setup_${randomBytes(32).toString('base64url')}`
  const link = `${baseUrl}/join#token=${token}\n`
  if (text !== link) await writeWhole(path, link)
  if (usable) return
  await db.write(async (trx) => {
    if (await anyUser(trx)) return
    await trx.insertInto('invitations').values({
      id: newId('invitation'), kind: 'setup', token_hash: hashToken(token), email: null, organization_id: null, role: null, invited_by: 'swarm', expires_at: now + LIFE_MS, created_at: now, accepted_at: null, accepted_by: null, revoked_at: null,
    }).execute()
  })
}

async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.new`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}
