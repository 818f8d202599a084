import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Database } from '../db/database.ts'
import { makeToken, storeToken, verifyToken } from './tokens.ts'

/**
 * Makes sure that `<home>/admin-token` (0600) opens this database, or that another admin token does: at the first start it
 * makes one. The token is written nowhere else and never printed. The file comes first and the row after it, so that a stop in between is mended by the next start.
 * @returns `made`, `kept`, or `elsewhere` when the database has an admin token that this home does not hold
 */
export async function ensureAdminToken(db: Database, home: string): Promise<'made' | 'kept' | 'elsewhere'> {
  const path = join(home, 'admin-token')
  const held = await readFile(path, 'utf8').then((text) => text.trim(), (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  if ((await verifyToken(db.read, held))?.kind === 'admin') return 'kept'
  const other = await db.read.selectFrom('tokens').select('id').where('kind', '=', 'admin').where('revoked_at', 'is', null).executeTakeFirst()
  if (other) return 'elsewhere'
  const token = makeToken('admin')
  await mkdir(home, { recursive: true, mode: 0o700 })
  await writeAtomically(path, `${token}\n`)
  await db.write((trx) => storeToken(trx, token, { kind: 'admin', subjectId: 'admin' }))
  return 'made'
}

async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
