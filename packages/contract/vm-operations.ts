import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { ExecExit } from './guest-protocol.ts'
import { VmHeldTo } from './runner-protocol.ts'

/*
 * What a person has done to a microVM: an *operation*. A runner dials out, so it asks for the operations on its microVMs by a
 * long poll, carries each out at most once, and says what came of it. One that nobody took until `expiresAt` is never
 * carried out.
 *
 * An exec and a shell have a stream besides: one WebSocket from the client to /api/vms/<vm>/exec, one from the runner to
 * /operations/<operation>/stream; the server checks, records and passes messages on.
 *
 *   binary message    u8 channel | bytes (at most MAX_CHUNK_BYTES)
 *     client → runner   0 stdin; without bytes: no more
 *     runner → client   1 stdout, 2 stderr (of a terminal all is stdout)
 *   text message      JSON
 *     server → runner   {type: 'go'}                       its client is here
 *     client → server   {type: 'start', …}                 the first one
 *     both ways         {type: 'consumed', bytes}          of these binary messages: so many more may come
 *     client → runner   {type: 'resize', columns, rows}
 *     server → client   {type: 'started', operationId}     recorded; the runner is asked
 *     runner → client   {type: 'exit', …} or {type: 'error', error}; the last one
 *
 * Each side may have STREAM_WINDOW_BYTES on the way that the other has not consumed; the server ends the stream of a client that sends
 * more. Whoever closes its socket ends the process.
 */

export const STREAM_WINDOW_BYTES = 256 * 1024
export const MAX_CHUNK_BYTES = 32 * 1024
/** It is recorded whole. */
const MAX_ARGV_CHARACTERS = 16 * 1024
/** Children of one fork at most. */
export const MAX_FORKS = 8
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2 } as const

/** Longest that an exec, and a shell, may take, ms. */
export const MAX_EXEC_MS = 3_600_000
export const MAX_SHELL_MS = 12 * 3_600_000

const Terminal = z.object({ columns: z.number().int().min(1).max(1_000), rows: z.number().int().min(1).max(1_000) })

export const StreamStart = z.strictObject({
  type: z.literal('start'),
  kind: z.enum(['exec', 'shell']),
  argv: z.array(z.string().refine((word) => !word.includes('\0'), 'no NUL')).min(1).max(1_000).refine((argv) => JSON.stringify(argv).length <= MAX_ARGV_CHARACTERS, `at most ${MAX_ARGV_CHARACTERS} characters`),
  /** The workspace of the work unless given. */
  cwd: z.string().max(4_096).startsWith('/', 'it must be absolute').optional(),
  timeoutMs: z.number().int().min(1).max(MAX_SHELL_MS),
  /** stdout and stderr together; what is beyond is thrown away. */
  maxOutputBytes: z.number().int().min(0).max(1024 ** 3),
  /** A pseudo-terminal of this size; null: pipes. */
  terminal: Terminal.extend({ /** TERM */ name: z.string().regex(/^[A-Za-z0-9+._-]{1,64}$/) }).nullable(),
}).refine(({ kind, timeoutMs }) => kind === 'shell' || timeoutMs <= MAX_EXEC_MS, { path: ['timeoutMs'], message: `at most ${MAX_EXEC_MS}` })
export type StreamStart = z.infer<typeof StreamStart>

export const StreamConsumed = z.strictObject({ type: z.literal('consumed'), bytes: z.number().int().min(1).max(STREAM_WINDOW_BYTES) })
export const StreamFromClient = z.discriminatedUnion('type', [StreamConsumed, Terminal.extend({ type: z.literal('resize') })])
export const StreamFailure = z.object({ code: z.string(), message: z.string(), remedy: z.string(), status: z.number().int() })
export const StreamFromRunner = z.discriminatedUnion('type', [
  StreamConsumed, ExecExit.extend({ type: z.literal('exit') }), z.object({ type: z.literal('error'), error: StreamFailure }),
])
export type StreamFromRunner = z.infer<typeof StreamFromRunner>
export const StreamToRunner = z.discriminatedUnion('type', [...StreamFromClient.options, z.object({ type: z.literal('go') })])
export const StreamToClient = z.discriminatedUnion('type', [...StreamFromRunner.options, z.object({ type: z.literal('started'), operationId: z.string() })])

/** Why the server closes a stream: 4409 this replica does not have the client of the operation; the runner tries again, to meet the one that has. */
export const STREAM_CLOSE_CODES = { protocol: 4400, elsewhere: 4409 } as const

export const OperationInput = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('kill'), reason: z.string() }),
  z.object({ kind: z.literal('pause') }),
  z.object({ kind: z.literal('resume') }),
  z.object({ kind: z.literal('fork'), count: z.number().int(), wallMs: z.number().int() }),
  z.object({ kind: z.literal('logs'), bytes: z.number().int() }),
  z.object({ kind: z.literal('exec'), start: StreamStart }),
  z.object({ kind: z.literal('shell'), start: StreamStart }),
])
export type OperationInput = z.infer<typeof OperationInput>

export const Operation = z.object({ id: z.string(), vmId: z.string(), correlationId: z.string(), input: OperationInput })
export type Operation = z.infer<typeof Operation>

export const nextOperations = endpoint({
  method: 'POST', path: '/operations', access: ['runner'], tag: 'runner protocol', summary: 'Waits for what people want done to the microVMs of a runner; each is given once',
  body: z.object({ bootId: z.string().min(8).max(64), waitMs: z.number().int().min(0).max(30_000) }),
  response: z.object({ operations: z.array(Operation) }),
})

/** Of `logs` alone; what a microVM wrote is passed on and not recorded. */
export const VmLogs = z.object({ console: z.string().max(1024 * 1024), output: z.string().max(1024 * 1024), truncated: z.boolean() })
export type VmLogs = z.infer<typeof VmLogs>

/** Of `fork` alone: from one of them to as many as were asked for, and none that is on record. */
export const ForkedVm = z.object({ id: z.string().min(1).max(64), restoreMs: z.number().min(0), limits: VmHeldTo })

export const endOperation = endpoint({
  method: 'POST', path: '/operations/end', access: ['runner'], tag: 'runner protocol', summary: 'Says what came of an operation without a stream; repeated, it is answered as the first time',
  body: z.object({ operationId: z.string(), failure: z.string().max(2_000).nullable(), logs: VmLogs.optional(), forked: z.array(ForkedVm).max(MAX_FORKS).optional() }),
  response: z.object({ recorded: z.boolean() }),
})
