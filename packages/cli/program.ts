import { Command as Commander, CommanderError, Option as CommanderOption } from 'commander'
import type { z } from 'zod'
import type { Argument, Command } from './command.ts'
import { UserError } from './errors.ts'
import { EXIT_CODE_HELP } from './exit-codes.ts'

/** What was asked for, once the command line was understood. */
export interface Call { readonly command: Command; readonly input: Record<string, unknown>; readonly json: boolean; /** Address of another server than the one of the home folder. */ readonly server?: string }

/** What --help and --version print; the program then ends with code 0. */
export class Printed extends Error {}

const NOUNS: Readonly<Record<string, string>> = {
  agent: 'Agents: a persona, a template, a model and limits', approval: 'Decisions that wait for a person', audit: 'Who did what', budget: 'Ceilings of what model calls may cost', change: 'What tickets made, and what became of it',
  config: 'Settings', evidence: 'What signs the evidence of merged changes', image: 'The image that microVMs start from', key: 'API keys of yours', organization: 'Organisations and their members', policy: 'Policies: who may do what', project: 'Projects', question: 'What agents ask people', rehearsal: 'Scripts that stand for the model',
  repository: 'Repositories', retention: 'What is kept, and for how long', runner: 'Hosts that run microVMs', secret: 'Secrets that are added to requests on the host', session: 'Design sessions: from a spec to tickets', ticket: 'Units of work', user: 'People who have an account', view: 'Saved views of boards', vm: 'MicroVMs',
}

/** Makes the command line of the registry. `parse` gives the call, or throws UserError (exit 2) or Printed. */
export function createProgram(commands: readonly Command[], version: string): { parse(argv: readonly string[]): Promise<Call>; help(name?: string): string } {
  let call: Call | undefined
  let printed = ''
  const nouns = new Map<string, Commander>()
  const byName = new Map<string, Commander>()
  const quiet = (made: Commander): Commander => made.exitOverride().helpOption('-h, --help', 'shows this help').configureOutput({ writeOut: (text) => { printed += text }, writeErr: () => undefined, getOutHelpWidth: () => 110, getOutHasColors: () => false })

  const root = quiet(new Commander('swarm')).version(version, '-V, --version', 'shows the version').description('Turns a spec into merged, tested changes with AI coding agents, each in a microVM of its own.')
    .option('--server <url>', 'talk to this server instead of the one of the home folder (before or after the command)')
    .showSuggestionAfterError(true).helpCommand('help [command]', 'shows the help of a command')
    .addHelpText('after', `\nEvery command has --help with examples, and --json: progress goes to stderr, one JSON object is the last line of stdout.\n\nExit codes:\n${exitCodes()}\n\nStart here:\n  swarm demo                                  watch a sample spec become merged changes\n  swarm run --spec SPEC.md --repo .           the same with your own\n`)

  for (const each of commands) {
    const [first = '', second] = each.name.split(' ')
    let parent = root
    if (second !== undefined) {
      parent = nouns.get(first) ?? quiet(root.command(first).description(NOUNS[first] ?? first)).showSuggestionAfterError(true).helpCommand(false)
      nouns.set(first, parent)
    }
    const made = quiet(parent.command(second ?? first)).summary(each.summary).description(each.description === undefined ? `${each.summary}.` : `${each.summary}.\n\n${each.description}`)
    for (const argument of each.arguments ?? []) made.argument(placeholder(argument), argument.description)
    for (const option of each.options ?? []) made.addOption(new CommanderOption(option.flags, option.description).hideHelp(option.hidden === true))
    made.option('--json', 'ends with one JSON object on the last line of stdout')
    made.addHelpText('after', `\nExamples:\n${each.examples.map(([text, meaning]) => `  ${text}\n      ${meaning}`).join('\n')}\n\nExit codes:\n${exitCodes()}`)
    made.action((...given: unknown[]) => {
      const options = made.opts()
      const positional = Object.fromEntries((each.arguments ?? []).map((argument, at) => [camel(argument.name), given[at]]))
      const { json = false, ...rest } = options as Record<string, unknown>
      const { server } = root.opts<{ server?: string }>()
      call = { command: each, input: { ...rest, ...positional }, json: json === true, ...(server === undefined ? {} : { server }) }
    })
    byName.set(each.name, made)
  }

  return {
    async parse(argv) {
      call = undefined
      printed = ''
      try {
        await root.parseAsync([...argv], { from: 'user' })
      } catch (error) {
        if (!(error instanceof CommanderError)) throw error
        const asked = ['commander.helpDisplayed', 'commander.version'].includes(error.code) || (error.code === 'commander.help' && printed !== '')
        if (asked) throw new Printed(printed)
        const noun = [...nouns.keys()].find((name) => argv[0] === name && argv[1] === undefined)
        if (error.code === 'commander.help') throw new Printed((noun === undefined ? root : nouns.get(noun) ?? root).helpInformation())
        throw new UserError('misuse', sentence(error.message, nouns.has(argv[0] ?? '') ? `${argv[0]} ` : ''), `"swarm ${commandWords(argv, byName, nouns)}--help" shows how it is used.`)
      }
      if (call === undefined) throw new Printed(printed === '' ? root.helpInformation() : printed)
      return call
    },
    help: (name) => {
      const found = name === undefined ? root : byName.get(name) ?? nouns.get(name)
      if (found === undefined) throw new RangeError(`there is no command ${name}`)
      printed = ''
      found.outputHelp()
      return printed
    },
  }
}

/** Arguments and options as the command wants them. @throws UserError that names the one that is wrong */
export function readInput(call: Call): z.output<Command['input']> {
  const parsed = call.command.input.safeParse(call.input)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const field = String(issue?.path[0] ?? '')
  const isArgument = (call.command.arguments ?? []).some((argument) => camel(argument.name) === field)
  const name = field === '' ? 'The command line' : isArgument ? field.toUpperCase() : `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  throw new UserError('misuse', `${name} is not right: ${issue?.message ?? 'not valid'}.`, `"swarm ${call.command.name} --help" shows how it is used.`)
}

const placeholder = ({ name, optional, variadic }: Argument): string => (optional === true ? `[${name}${variadic === true ? '...' : ''}]` : `<${name}${variadic === true ? '...' : ''}>`)
const camel = (name: string): string => name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
const exitCodes = (): string => EXIT_CODE_HELP.map(([code, meaning]) => `  ${String(code).padEnd(4)} ${meaning}`).join('\n')

function sentence(message: string, noun: string): string {
  const text = message.replace(/^error: /, '').replace(/\n\(Did you mean (.*?)\?\)/s, `. Did you mean "swarm ${noun}$1"?`).replace(/\s+/g, ' ').trim()
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? '' : '.'}`
}

function commandWords(argv: readonly string[], commands: ReadonlyMap<string, unknown>, nouns: ReadonlyMap<string, unknown>): string {
  const two = argv.slice(0, 2).join(' ')
  if (commands.has(two)) return `${two} `
  const [first = ''] = argv
  return commands.has(first) || nouns.has(first) ? `${first} ` : ''
}
