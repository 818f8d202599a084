import { copyFile, link, lstat, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/*
 * Gathers a home folder that is in use into a folder of its own. What is written once and then never changed (blobs, git objects)
 * is linked, which takes no space and no time; the rest is copied.
 */

/** Of the running processes, of other installations, or made again; the database comes as a snapshot. */
const LEFT_OUT = /^(run|logs|runner|backups|demo|demo\.previous|replaced-.*|repositories|blobs|swarm\.sqlite.*|telemetry\.sqlite.*|.*\.new)$/

/** Everything of the home folder that is small: keys, the admin token, settings. */
export async function collectSettings(home: string, target: string): Promise<void> {
  for (const name of await readdir(home)) if (!LEFT_OUT.test(name)) await take(join(home, name), join(target, name), 'copy')
}

/** Blobs that are whole. @returns how many */
export async function collectBlobs(home: string, target: string): Promise<number> {
  await mkdir(target, { recursive: true, mode: 0o700 })
  let count = 0
  for (const name of await names(join(home, 'blobs'))) {
    if (!/^[0-9a-f]{2}$/.test(name)) continue
    await take(join(home, 'blobs', name), join(target, name), 'link')
    count += (await readdir(join(target, name))).length
  }
  return count
}

/**
 * A bare repository in use. Refs come first, then their logs (git writes the log before it moves the ref), then the objects that
 * both name. Objects are only ever added, or moved from loose ones into a pack: then they are looked for once more.
 */
export async function collectRepository(source: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o700 })
  for (const name of ['HEAD', 'config', 'packed-refs', 'refs', 'logs', 'info', 'description']) await take(join(source, name), join(target, name), 'copy')
  // git knows a repository by these.
  for (const name of ['refs', 'objects']) await mkdir(join(target, name), { recursive: true, mode: 0o700 })
  while (!await take(join(source, 'objects'), join(target, 'objects'), 'link'));
}

/** Takes a file or folder, without what is being written at this moment. @returns whether all that was listed was still there */
async function take(source: string, target: string, how: 'copy' | 'link'): Promise<boolean> {
  const about = await lstat(source).catch(unlessMissing)
  if (!about) return false
  if (about.isDirectory()) {
    await mkdir(target, { recursive: true, mode: about.mode & 0o777 })
    let whole = true
    for (const name of await names(source)) {
      if (/^(tmp_|incoming-)|\.(lock|tmp|new)$/.test(name)) continue
      whole = await take(join(source, name), join(target, name), how) && whole
    }
    return whole
  }
  if (!about.isFile()) return true
  try {
    if (how === 'copy') await copyFile(source, target)
    else await link(source, target)
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    if (code === 'EEXIST') return true // taken the first time round
    if (code === 'ENOENT') return false
    // Another file system, or a file system without links.
    if (code === 'EXDEV' || code === 'EPERM' || code === 'EMLINK' || code === 'ENOTSUP') return copyFile(source, target).then(() => true)
    throw error
  }
}

async function names(folder: string): Promise<string[]> {
  return await readdir(folder).catch(unlessMissing) ?? []
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
