import { isFormat, mayCarrySecret } from '@swarm/core/secrets/injection.ts'
import { z } from 'zod'

/** How a secret is sent (core/secrets/injection.ts). */
export const Injection = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('header'),
    header: z.string().max(100).toLowerCase().refine(mayCarrySecret, 'a secret cannot be sent in this header'),
    /** `{secret}` stands for the value. */
    format: z.string().max(500).refine(isFormat, 'printable characters, with {secret} in them once').default('{secret}'),
  }),
  z.object({ kind: z.literal('basic'), username: z.string().max(200).regex(/^[\x20-\x39\x3b-\x7e]*$/, 'printable characters without a colon') }),
])
