import { lstat, mkdir, realpath } from 'node:fs/promises'
import path from 'node:path'

/** A path that a file tool will not touch; the message is for the agent to read. */
export class WorkspaceError extends Error {
  readonly code: 'outside_workspace' | 'protected_path' | 'not_found'
  constructor(code: WorkspaceError['code'], message: string) {
    super(message)
    this.name = 'WorkspaceError'
    this.code = code
  }
}

export interface WorkspacePath {
  /** Real path: no symbolic link is left in the part that exists. */
  absolute: string
  /** Relative to the workspace, with slashes. */
  relative: string
  exists: boolean
}

export interface Workspace {
  /** Real path of the workspace. */
  readonly root: string
  /** @throws WorkspaceError when the path lies outside (links followed) or does not exist. */
  resolveExisting(input: string): Promise<WorkspacePath>
  /** As above, but the file (and folders above it) may be missing; `.git` is refused. */
  resolveForWrite(input: string): Promise<WorkspacePath>
  /** Makes the missing folders above a path. */
  makeParent(target: WorkspacePath): Promise<void>
}

/** Confines file tools to one folder: every path is judged after all symbolic links in it were followed. */
export async function openWorkspace(folder: string): Promise<Workspace> {
  const root = await realpath(folder)
  const locate = async (input: string): Promise<WorkspacePath> => {
    if (input.includes('\0')) throw new WorkspaceError('outside_workspace', 'A path cannot contain a NUL byte.')
    const absolute = await realpathOfExistingPart(path.resolve(root, input))
    const relative = path.relative(root, absolute.path)
    if (relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative)) {
      throw new WorkspaceError('outside_workspace', `${input} lies outside the workspace ${root}; use a path inside it.`)
    }
    return { absolute: absolute.path, relative: relative === '' ? '.' : relative, exists: absolute.exists }
  }
  return {
    root,
    async resolveExisting(input) {
      const located = await locate(input)
      if (!located.exists) throw new WorkspaceError('not_found', `${input} does not exist.`)
      return located
    },
    async resolveForWrite(input) {
      const located = await locate(input)
      if (located.relative.split(path.sep).includes('.git')) throw new WorkspaceError('protected_path', `${input} is part of git's own data; change it by git commands only.`)
      return located
    },
    async makeParent(target) {
      await mkdir(path.dirname(target.absolute), { recursive: true })
    },
  }
}

async function realpathOfExistingPart(absolute: string): Promise<{ path: string; exists: boolean }> {
  const missing: string[] = []
  for (let current = absolute; ; current = path.dirname(current)) {
    const info = await lstat(current).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null
      throw error
    })
    if (info !== null) {
      // A dangling link exists for lstat and fails here: writing through it could land anywhere.
      const real = await realpath(current).catch(() => {
        throw new WorkspaceError('outside_workspace', `${current} is a symbolic link that leads nowhere.`)
      })
      return { path: path.join(real, ...missing), exists: missing.length === 0 }
    }
    missing.unshift(path.basename(current))
  }
}
