import { runCommand } from '../../tools/command.ts'
import { failed, type AgentTemplate } from '../template.ts'

/** Runs the definition's commands in order in the workspace, each by `sh -c`; the first that fails ends the attempt. */
export const shell: AgentTemplate<'shell'> = {
  name: 'shell',
  async run(task, emit, signal) {
    for (const command of task.config.commands) {
      const result = await runCommand(command, { cwd: task.workspace, emit, signal })
      if (result.exitCode !== 0) {
        const how = result.exitCode === null ? `was ended by ${result.signal}` : `exited with ${result.exitCode}`
        return failed('agent', 'command_failed', `The command "${command}" ${how}.`)
      }
    }
    const count = task.config.commands.length
    return { type: 'finished', summary: `Ran ${count} ${count === 1 ? 'command' : 'commands'}.` }
  },
}
