import { z } from 'zod'

/*
 * Between a test and the host that it attacks (main.ts, in namespaces of its own): JSON lines. The test asks, the host
 * answers under the same id, and tells meanwhile what happened on its network.
 */

export const Exec = z.object({
  argv: z.array(z.string()), stdin: z.string().optional(), env: z.record(z.string(), z.string()).optional(), cwd: z.string().optional(),
  timeoutMs: z.number().default(120_000), maxOutputBytes: z.number().optional(),
})

export const Question = z.discriminatedUnion('do', [
  /** Restores one more microVM, with the way out of the first attempt. */
  z.object({ do: z.literal('restore'), vm: z.string() }),
  z.object({ do: z.literal('dispose'), vm: z.string() }),
  z.object({ do: z.literal('exec'), vm: z.string(), exec: Exec }),
  /** Waits for the end of a microVM. */
  z.object({ do: z.literal('ended'), vm: z.string() }),
  /** Clock of the guest against the host's: {offsetMs, boundMs}. */
  z.object({ do: z.literal('clock'), vm: z.string() }),
  /** Which of these texts occur in the memory of the VMM: its own and all of the guest's. */
  z.object({ do: z.literal('memory'), vm: z.string(), texts: z.array(z.string()) }),
  z.object({ do: z.literal('environment'), vm: z.string() }),
  /** Connections of the microVM that the host holds open. */
  z.object({ do: z.literal('forwards'), vm: z.string() }),
  /** SHA-256 of every file of the image and of the template. */
  z.object({ do: z.literal('files') }),
  /** Every ref of the repository, as `<sha> <ref>`. */
  z.object({ do: z.literal('refs') }),
  /** Model calls as the server booked them. */
  z.object({ do: z.literal('calls') }),
])
export type Question = z.input<typeof Question>

export const Facts = z.object({
  driver: z.string(),
  /** The two attempts at work, each in a microVM named `first` and `second`; of the first everything is tried. */
  attempts: z.array(z.object({ vm: z.string(), attemptId: z.string(), token: z.string(), ticketKey: z.string() })),
  repository: z.string(), otherRepository: z.string(),
  /** Commit with the second attempt's work, on its own ref. */
  secondHead: z.string(),
  /** What must be in no guest, by name. */
  secrets: z.record(z.string(), z.string()),
})
export type Facts = z.infer<typeof Facts>

export const Happening = z.object({
  ready: Facts.optional(), failed: z.string().optional(), answered: z.number().optional(), value: z.unknown().optional(), error: z.string().optional(),
  /** `<address> <port>` of a listener that somebody connected to. */
  reached: z.string().optional(), got: z.string().optional(), text: z.string().optional(), asked: z.string().optional(),
  /** Code of a refusal of the first attempt's proxy. */
  refused: z.string().optional(),
})
export type Happening = z.infer<typeof Happening>
