import { MAX_EXEC_MS } from '@swarm/contract/vm-operations.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { runInVm } from '../../vm/run.ts'

export const vmExec = command({
  name: 'vm exec',
  summary: 'Runs a command in a microVM, beside what works there',
  description: 'As root, in the workspace of the work. Who ran what and how it ended is recorded (the command line whole: put no secret in it); what it prints is not. Ctrl-C ends it. Its exit code is the exit code: 124 after the limit of time, 128 and its number after a signal.',
  examples: [['swarm vm exec VM-7Q2M9XKD -- git status', 'what the agent has changed'], ['swarm vm exec VM-7Q2M9XKD --stdin -- tee /tmp/note', 'with what is typed or piped here']],
  arguments: [{ name: 'id', description: 'the microVM' }, { name: 'argv', description: 'the command and its arguments, after --', variadic: true }],
  options: [
    { flags: '--cwd <path>', description: 'the folder in the microVM (the workspace unless given)' }, { flags: '--stdin', description: 'passes standard input on' },
    { flags: '--timeout <seconds>', description: 'it is ended after so long (300 unless given, 3600 at most)' }, { flags: '--max-output <bytes>', description: 'more output is thrown away (16 MiB unless given)' },
  ],
  input: z.object({
    id: z.string(), argv: z.array(z.string()).min(1, 'give a command after --'), cwd: z.string().startsWith('/', 'it must be absolute').optional(), stdin: z.boolean().default(false),
    timeout: z.coerce.number('give a number').positive().max(MAX_EXEC_MS / 1_000, `at most ${MAX_EXEC_MS / 1_000}`).default(300), maxOutput: z.coerce.number('give a number').int().min(0).max(1024 ** 3).default(16 * 1024 ** 2),
  }),
  async run({ id, argv, cwd, stdin, timeout, maxOutput }, context) {
    const start = { type: 'start' as const, kind: 'exec' as const, argv, timeoutMs: Math.ceil(timeout * 1_000), maxOutputBytes: maxOutput, terminal: null, ...(cwd === undefined ? {} : { cwd }) }
    return runInVm(id, start, { stdin }, context)
  },
})
