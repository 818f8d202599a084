import { MAX_SHELL_MS } from '@swarm/contract/vm-operations.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { terminalName } from '../../config.ts'
import { runInVm, terminalSize } from '../../vm/run.ts'

/** Output of one shell, bytes. */
const MAX_OUTPUT_BYTES = 1024 ** 3

export const vmShell = command({
  name: 'vm shell',
  summary: 'Opens a shell in a microVM, beside what works there',
  description: 'Where this is a terminal, on one of its own in the microVM (Ctrl-] leaves); else, and with --json, a line-based shell that reads standard input. Who opened it and when it ended is recorded; what is typed and shown is not.',
  examples: [['swarm vm shell VM-7Q2M9XKD', 'as root, in the workspace of the work']],
  arguments: [{ name: 'id', description: 'the microVM' }],
  options: [{ flags: '--timeout <seconds>', description: 'it is ended after so long (one hour unless given, 12 at most)' }],
  input: z.object({ id: z.string(), timeout: z.coerce.number('give a number').positive().max(MAX_SHELL_MS / 1_000, `at most ${MAX_SHELL_MS / 1_000}`).default(3_600) }),
  async run({ id, timeout }, context) {
    const { io } = context
    const terminal = io.interactive && process.stdout.isTTY ? { ...terminalSize(), name: terminalName() } : null
    io.say(terminal === null ? 'There is no terminal here: a line-based shell reads standard input.' : `A shell in ${id}; Ctrl-] leaves.`)
    return runInVm(id, { type: 'start', kind: 'shell', argv: ['/bin/bash', '-i'], timeoutMs: Math.ceil(timeout * 1_000), maxOutputBytes: MAX_OUTPUT_BYTES, terminal }, { stdin: true }, context)
  },
})
