import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { git } from '@swarm/git/run.ts'

export const SWARM = fileURLToPath(new URL('../../bin/swarm.mjs', import.meta.url))

export interface Ran { readonly code: number | null; readonly stdout: string; readonly stderr: string; readonly json: Record<string, unknown> }

/** A folder with a home of its own, in which commands run as a user would run them; removed with all that they started. */
export interface Desk extends AsyncDisposable {
  readonly folder: string
  readonly home: string
  /** Runs a command to its end. */
  swarm(args: readonly string[], env?: Record<string, string>): Promise<Ran>
  /** Starts one and returns its process. */
  spawn(args: readonly string[], env?: Record<string, string>, stdin?: 'ignore' | 'pipe'): ChildProcess
  write(path: string, content: string): string
  /** A repository with these files committed; none: without a commit. */
  repository(name: string, files: Record<string, string>): Promise<string>
}

export function makeDesk(): Desk {
  const folder = mkdtempSync(join(tmpdir(), 'swarm-cli-'))
  const home = join(folder, 'home')
  const running = new Set<ChildProcess>()
  const start = (args: readonly string[], env: Record<string, string> = {}, stdin: 'ignore' | 'pipe' = 'ignore'): ChildProcess => {
    // No key, no proxy and no settings of the machine that runs the tests; the process driver, since nothing here is about microVMs.
    const inherited = Object.fromEntries(['PATH', 'SWARM_TEST_RUN', 'TMPDIR', 'SWARM_CACHE'].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']])))
    const child = spawn(process.execPath, [SWARM, ...args], { cwd: folder, env: { ...inherited, HOME: folder, SWARM_HOME: home, SWARM_VM_DRIVER: 'process', ...env }, stdio: [stdin, 'pipe', 'pipe'] })
    running.add(child)
    child.once('exit', () => running.delete(child))
    return child
  }
  const desk: Desk = {
    folder, home, spawn: start,
    async swarm(args, env) {
      const child = start(args, env)
      if (!child.stdout || !child.stderr) throw new Error('no pipes')
      const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close') as Promise<[number | null]>])
      const last = stdout.trimEnd().split('\n').at(-1) ?? ''
      return { code, stdout, stderr, json: args.includes('--json') ? JSON.parse(last) as Record<string, unknown> : {} }
    },
    write(path, content) {
      const whole = join(folder, path)
      mkdirSync(dirname(whole), { recursive: true })
      writeFileSync(whole, content)
      return whole
    },
    async repository(name, files) {
      const path = join(folder, name)
      mkdirSync(path, { recursive: true })
      await git(path, ['init', '--quiet', '--initial-branch=main'])
      for (const [file, content] of Object.entries(files)) desk.write(join(name, file), content)
      if (Object.keys(files).length > 0) {
        await git(path, ['add', '--all'])
        await git(path, ['-c', 'user.name=Test', '-c', 'user.email=test@example.org', 'commit', '--quiet', '--message=Start'])
      }
      return path
    },
    async [Symbol.asyncDispose]() {
      await desk.swarm(['stop'])
      for (const child of running) {
        child.kill('SIGKILL')
        await once(child, 'close')
      }
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
    },
  }
  return desk
}

/** The first column of what a SQLite file answers. */
export function columnOf(path: string, statement: string): string[] {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    return database.prepare(statement).all().map((row) => String(Object.values(row)[0]))
  } finally {
    database.close()
  }
}

/** Changes a SQLite file behind Swarm's back. */
export function alterDatabase(path: string, statement: string): void {
  const database = new DatabaseSync(path)
  try {
    database.exec(statement)
  } finally {
    database.close()
  }
}

/** Waits for a line of a process. */
export async function saying(child: ChildProcess, words: RegExp): Promise<string> {
  let said = ''
  return await new Promise((resolve, reject) => {
    const look = (chunk: Buffer): void => {
      said += chunk.toString('utf8')
      if (words.test(said)) resolve(said)
    }
    child.stdout?.on('data', look)
    child.stderr?.on('data', look)
    child.once('close', () => { reject(new Error(`it ended without saying ${words}: ${said}`)) })
  })
}

export const SPEC = `# Greeter

## Requirements
- R1 A file src/greet.js exports greet(name), which returns "Hello, <name>"
`

/** What the rehearsal model answers to that spec; \`slowMs\`: thinking time of its developer. */
export const script = (slowMs = 0): string => `version: 1
title: Greeter
scenes:
  - role: designer
    step: skeleton
    turns:
      - json: { epics: [{ key: greeter, title: Greeter, requirements: [R1], dependsOn: [] }] }
  - role: designer
    step: "expand:greeter"
    turns:
      - json:
          tickets:
            - { key: greet, title: Greet by name, description: The module and its test, acceptance: [It greets], requirements: [R1], scope: ["src/**", "test/**"], dependsOn: [], storyPoints: 1 }
  - role: developer
    ticket: greet
    turns:
      - say: I write the module and its test.
        delay: ${slowMs}
        tools:
          - { name: write_file, input: { path: src/greet.js, content: "export const greet = (name) => \`Hello, \${name}\`\\n" } }
          - { name: write_file, input: { path: test/greet.test.js, content: "import test from 'node:test'\\nimport assert from 'node:assert/strict'\\nimport { greet } from '../src/greet.js'\\ntest('greets', () => { assert.equal(greet('A'), 'Hello, A') })\\n" } }
      - finish: The module with its test
`

export const SHOP = { 'package.json': '{"name":"shop","type":"module","scripts":{"test":"node --test"}}\n', 'test/start.test.js': "import test from 'node:test'\ntest('starts', () => {})\n" }
