/** A file of the repository that an image gets, as the plan names it. */
export interface PlannedFile {
  /** Absolute path in the image. */
  readonly path: string
  /** Permission bits, such as 0o755. */
  readonly mode: number
  /** Id of the git object that is its content. */
  readonly blob: string
}

/** Files of one image, and their bytes together: they travel with every piece of work. */
export const MAX_IMAGE_FILES = 50
export const MAX_IMAGE_FILE_BYTES = 1024 ** 2

/** Name of a Debian package (Debian policy, 5.6.1), but for a - at its end: apt takes that as "remove". */
export const DEBIAN_PACKAGE = /^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$/

/** Name of an npm package, alone or with one exact version: a range or a tag would mean something else at each build. Not npm itself, which every image has in one version. */
export const NPM_PACKAGE = /^(?!npm(@|$))(@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*(@\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)?$/

/** Where no file of an image can lie: other file systems are mounted there, or it is Swarm's own. */
const TAKEN = ['/proc', '/sys', '/dev', '/run', '/tmp', '/var/tmp', '/root', '/work', '/opt/swarm'] as const

/** Why a file cannot lie at this path of an image, to be read behind the path; null when it can. */
export function imagePathProblem(path: string): string | null {
  if (!path.startsWith('/')) return 'is not an absolute path'
  if (path.length > 500 || /[\0-\x1f\x7f\\]/.test(path)) return 'holds characters that no path here may hold, or is too long'
  if (path.slice(1).split('/').some((name) => name === '' || name === '.' || name === '..')) return 'is not a plain path: no "..", no "." and no empty part'
  const taken = TAKEN.find((each) => path === each || path.startsWith(`${each}/`))
  return taken === undefined ? null : `lies in ${taken}, which is not part of an image`
}
