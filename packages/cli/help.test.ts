import { expect, test } from 'vitest'
import { commands } from './commands.ts'
import { createProgram, Printed, readInput } from './program.ts'

const program = createProgram(commands, '0.0.0')

test('the help of every command is as it was agreed on', () => {
  expect([program.help(), ...commands.map(({ name }) => program.help(name))].join(`\n${'='.repeat(40)}\n`)).toMatchSnapshot()
})

test('every command has examples that its own command line understands', async () => {
  for (const { name, examples } of commands) {
    expect(examples.length, name).toBeGreaterThan(0)
    for (const [example] of examples) {
      const words = (example.match(/(?:"[^"]*"|\S)+/g) ?? []).map((word) => word.replaceAll('"', ''))
      const argv = words.slice(words.indexOf('swarm') + 1).filter((_, at, all) => !all.slice(0, at + 1).some((word) => word === '|' || word === '>'))
      const call = await program.parse(argv)
      expect(call.command.name, example).toBe(name)
      expect(readInput(call), example).toBeTypeOf('object')
    }
  }
})

test('every command takes --json', async () => {
  for (const { name, arguments: given = [] } of commands) {
    const call = await program.parse([...name.split(' '), ...given.map(() => 'x'), '--json'])
    expect(call.json, name).toBe(true)
  }
})

test.each([
  [['tickt'], /Unknown command 'tickt'. Did you mean "swarm ticket"\?/],
  [['ticket', 'lst'], /Did you mean "swarm ticket list"\?/],
  [['ticket', 'show'], /Missing required argument 'id'/],
  [['run', '--specs', 'x'], /Unknown option '--specs'. Did you mean "swarm --spec"|Unknown option '--specs'/],
])('%j is answered with what is wrong and where the help is', async (argv, words) => {
  await expect(program.parse(argv)).rejects.toMatchObject({ message: expect.stringMatching(words) as string, remedy: expect.stringContaining('--help') as string, exitCode: 2 })
})

test('a value that does not fit is answered with the name of its option', async () => {
  expect(() => readInput({ command: commands.find(({ name }) => name === 'up')!, input: { port: 'eighty', runner: true }, json: false })).toThrow('--port is not right: give a number.')
})

test('a noun alone prints its help', async () => {
  await expect(program.parse(['image'])).rejects.toBeInstanceOf(Printed)
})
