/** One side of a file in a change. */
export interface FileVersion {
  /** git's mode: `100644`, `100755`, `120000` (symbolic link), `160000` (submodule). */
  readonly mode: string
  /** Size in bytes; 0 for a submodule. */
  readonly sizeBytes: number
  /** A NUL byte was found in its first 8,000 bytes. */
  readonly binary: boolean
  /** Its whole text; null for binaries, submodules and files beyond the reader's limit. */
  readonly text: string | null
}

/** What happened to one path. A rename carries both paths; `before` is null for what is new, `after` for what is gone. */
export interface FileChange {
  readonly status: 'added' | 'modified' | 'deleted' | 'renamed' | 'type_changed'
  readonly path: string
  /** The path before a rename, else the same as `path`. */
  readonly oldPath: string
  readonly before: FileVersion | null
  readonly after: FileVersion | null
}

/** A line of the head tree that contains a word that the gate asked for. */
export interface Mention {
  readonly path: string
  /** Counted from 1. */
  readonly line: number
  readonly text: string
}

/** All that the gate reads of a change: plain data, taken from git by `@swarm/git/diff.ts`. */
export interface ChangeSet {
  readonly files: readonly FileChange[]
  /** The change starts from an empty tree (a first commit). */
  readonly fromNothing: boolean
  /** Folders (without a trailing slash) that held a tracked file in the base. */
  readonly baseFolders: ReadonlySet<string>
}

export type Severity = 'error' | 'warning'

/** What the gate has to say about one place. `line` is null when the whole file, or the whole change (`path` ''), is meant. */
export interface Finding {
  readonly code: string
  readonly severity: Severity
  readonly path: string
  readonly line: number | null
  readonly message: string
  /** What the author can do about it, in the second person. */
  readonly remedy: string
}

export interface GateResult {
  /** True without findings of severity `error`. */
  readonly clean: boolean
  readonly findings: readonly Finding[]
}
