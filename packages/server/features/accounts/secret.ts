import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Secret } from '@swarm/core/secret.ts'
import type { Config } from '../../config.ts'

/**
 * What cookies, second factors and links in mails are protected with: the setting `accounts.secret`, else `<home>/keys/accounts`
 * (0600), made at the first start and kept with every backup. There is no default.
 */
export async function ensureAccountsSecret(config: Pick<Config, 'home' | 'accounts'>): Promise<Secret> {
  if (config.accounts.secret) return config.accounts.secret
  const path = join(config.home, 'keys', 'accounts')
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  // Written beside and linked to its name: never half of it, never over one that another process made first.
  const temporary = `${path}.${randomUUID()}.new`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(`${randomBytes(48).toString('base64url')}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await link(temporary, path).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'EEXIST') throw error })
  } finally {
    await rm(temporary, { force: true })
  }
  return new Secret((await readFile(path, 'utf8')).trim())
}

/** A keyed hash for one purpose, 43 characters of base64url: what it was made from cannot be tried out without the secret. */
export function keyed(secret: Secret, purpose: string, text: string): string {
  return createHmac('sha256', secret.reveal()).update(`${purpose}\0${text}`).digest('base64url')
}
