import { existsSync } from 'node:fs'
import { defineConfig } from 'vitest/config'

// Projects that run one after the other (scripts/test.mjs): what needs a microVM or a network namespace has the machine to itself,
// since two cores that emulate a CPU leave no time to spare for a neighbour's deadline. Builds and whole platforms have no such
// deadlines, and wait for much: two of them go beside each other.
const VM_TESTS = 'packages/**/*.vm.test.ts'
const PLATFORM_TESTS = ['packages/testkit/platform/*.vm.test.ts', 'packages/runner/images/*.vm.test.ts']
const NETNS_TESTS = 'packages/**/*.netns.test.ts'
const DATABASE_SETUP = 'packages/server/db/testing-setup.ts'

export default defineConfig({
  test: {
    allowOnly: false,
    passWithNoTests: true,
    // Real databases, git and child processes on slow cores; a unit test that nears these is doing too much.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    // A warning of Node without its place says too little to mend it.
    execArgv: ['--trace-warnings'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/**/*.test.ts', 'scripts/**/*.test.mjs', 'bench/**/*.test.ts'],
          exclude: ['**/node_modules/**', '**/fixtures/**', VM_TESTS, NETNS_TESTS],
          globalSetup: existsSync(DATABASE_SETUP) ? [DATABASE_SETUP] : [],
          // One more than cores: most of these wait for processes of their own.
          maxWorkers: 3,
        },
      },
      {
        extends: true,
        test: {
          name: 'vm',
          include: [VM_TESTS],
          exclude: ['**/node_modules/**', '**/fixtures/**', ...PLATFORM_TESTS],
          // Under emulation a boot takes seconds and a command that starts Node most of one.
          testTimeout: 240_000,
          hookTimeout: 420_000,
          fileParallelism: false,
          maxWorkers: 1,
        },
      },
      {
        extends: true,
        test: {
          name: 'platform',
          include: PLATFORM_TESTS,
          exclude: ['**/node_modules/**', '**/fixtures/**'],
          testTimeout: 480_000,
          hookTimeout: 420_000,
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: {
          name: 'netns',
          include: [NETNS_TESTS],
          exclude: ['**/node_modules/**', '**/fixtures/**'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          maxWorkers: 1,
        },
      },
    ],
  },
})
