/** What the exit code of every command means. */
export const EXIT = {
  ok: 0,
  /** The work was done and failed, or found something: a ticket that failed, gate findings of severity error. */
  failed: 1,
  /** The command, or a file or repository that was given to it, is not right. */
  misuse: 2,
  /** The platform cannot be started or reached. */
  platform: 3,
  /** A person has to decide or answer before it can go on. */
  person: 4,
  /** Ctrl-C. */
  interrupted: 130,
  terminated: 143,
} as const

export const EXIT_CODE_HELP: readonly (readonly [number, string])[] = [
  [EXIT.ok, 'it worked'],
  [EXIT.failed, 'the work failed, or there are findings'],
  [EXIT.misuse, 'the command or what was given to it is not right'],
  [EXIT.platform, 'the platform cannot be started or reached'],
  [EXIT.person, 'a person has to decide first'],
  [EXIT.interrupted, 'interrupted by Ctrl-C'],
]
