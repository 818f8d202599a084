import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { z } from 'zod'
import { AgentEvent, type AgentOutcome, type AgentTask } from '@swarm/contract/agent-protocol.ts'

/*
 * For the tests of this folder: the program in one file, as it is in the image, run as a real process in a real git repository.
 */

export interface AgentRun {
  events: AgentEvent[]
  outcome: AgentOutcome
  exitCode: number | null
  stderr: string
}

export interface Harness extends Disposable {
  /** A git repository with these files committed. */
  workspace(files?: Record<string, string>): string
  folder: string
  run(task: z.input<typeof AgentTask>, options?: { onEvent?: (event: AgentEvent, kill: (signal: NodeJS.Signals) => void) => void; env?: Record<string, string> }): Promise<AgentRun>
}

export async function agentHarness(): Promise<Harness> {
  const folder = mkdtempSync(path.join(tmpdir(), 'swarm-agent-test-'))
  const program = path.join(folder, 'agent.mjs')
  await build({
    entryPoints: [fileURLToPath(new URL('main.ts', import.meta.url))], outfile: program, bundle: true, platform: 'node', format: 'esm', target: 'node24', logLevel: 'error',
    banner: { js: "import{createRequire as swarmRequire}from'node:module';const require=swarmRequire(import.meta.url);" },
  })
  let count = 0
  return {
    folder,
    workspace(files = { 'README.md': '# Sample\n' }) {
      const root = path.join(folder, `workspace-${++count}`)
      mkdirSync(root)
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
        writeFileSync(path.join(root, name), content)
      }
      const git = (...args: string[]): unknown => execFileSync('git', ['-C', root, '-c', 'user.name=Test', '-c', 'user.email=test@localhost', ...args], { stdio: 'pipe' })
      git('init', '--quiet', '--initial-branch=main')
      git('add', '--all')
      git('commit', '--quiet', '--message=Begin')
      return root
    },
    run(task, options = {}) {
      const child = spawn(process.execPath, [program], { env: { PATH: process.env['PATH'], HOME: folder, ...options.env }, stdio: ['pipe', 'pipe', 'pipe'] })
      const events: AgentEvent[] = []
      let stderr = ''
      let rest = ''
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')))
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          const event = AgentEvent.parse(JSON.parse(line))
          events.push(event)
          options.onEvent?.(event, (signal) => child.kill(signal))
        }
      })
      child.stdin.end(JSON.stringify(task))
      return new Promise((resolve, reject) => {
        child.once('error', reject)
        child.once('close', (exitCode) => {
          const last = events.at(-1)
          if (last?.type === 'finished' || last?.type === 'question' || last?.type === 'failed') resolve({ events, outcome: last, exitCode, stderr })
          else reject(new Error(`the agent ended with ${exitCode} and without an outcome: ${stderr}`))
        })
      })
    },
    [Symbol.dispose]() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A task for a workspace; `over` replaces whole fields. */
export function buildTask(workspace: string, config: z.input<typeof AgentTask>['config'], over: Partial<z.input<typeof AgentTask>> = {}): z.input<typeof AgentTask> {
  return {
    attemptId: 'ATT-00000001', correlationId: 'correlation-1', workspace, config, limits: {}, modelBaseUrl: 'http://model.swarm.internal',
    ticket: {
      id: 'TKT-00000001', key: 'scoring', title: 'Score a round', description: 'Write score.js.', acceptance: ['A bid that is met scores 20 a trick.'],
      scope: ['src/**'], requirements: [{ id: 'R1', text: 'Scores follow the rules.' }], checks: [{ name: 'test', command: 'node --test' }],
    },
    ...over,
  }
}
