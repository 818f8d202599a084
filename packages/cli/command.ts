import type { Resolved } from '@swarm/contract/config.ts'
import type { z } from 'zod'
import type { Io } from './io.ts'

export interface Argument { readonly name: string; readonly description: string; readonly optional?: boolean; readonly variadic?: boolean }
export interface Option {
  /** As commander writes them: `--spec <file>`, `--yes`, `--scope <glob...>`. */
  readonly flags: string
  readonly description: string
  readonly hidden?: boolean
}

export interface Context {
  readonly io: Io
  /** Aborted by Ctrl-C and SIGTERM with an Interrupted. */
  readonly signal: AbortSignal
  /** @throws DomainError config_invalid */
  settings(argv?: Readonly<Record<string, unknown>>): Resolved
}

/** What a command came to: `json` is the object of --json, `text` the same for people. */
export interface Outcome {
  readonly json: Readonly<Record<string, unknown>>
  readonly text?: string
  /** 0 unless given. */
  readonly exitCode?: number
}

/** A command as a value: program.ts makes the command line, its help and docs/cli.md's list from these. */
export interface Command<Input extends z.ZodObject = z.ZodObject> {
  /** `up`, or noun and verb: `ticket list`. */
  readonly name: string
  readonly summary: string
  readonly description?: string
  readonly examples: readonly (readonly [command: string, meaning: string])[]
  readonly arguments?: readonly Argument[]
  readonly options?: readonly Option[]
  /** Arguments and options by their names in camel case; what does not fit is answered with the field and exit code 2. */
  readonly input: Input
  run(input: z.output<Input>, context: Context): Promise<Outcome>
}

/** Declares a command; only there for the inference. */
export function command<Input extends z.ZodObject>(value: Command<Input>): Command {
  return value as unknown as Command
}
