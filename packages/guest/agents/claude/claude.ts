import { BaseAnthropic } from '@anthropic-ai/sdk/client'
import { Messages, type ContentBlockParam, type MessageParam, type TextBlockParam, type ToolResultBlockParam, type ToolUseBlockParam } from '@anthropic-ai/sdk/resources/messages'
import type { AgentOutcome } from '@swarm/contract/agent-protocol.ts'
import { AskHumanInput, FinishInput } from '../../tools/control.ts'
import { FileMemory } from '../../tools/file-memory.ts'
import { runProcess } from '../../tools/process.ts'
import { parseInput, ToolError, type ToolContext } from '../../tools/tool.ts'
import { openWorkspace } from '../../tools/workspace.ts'
import { AttemptEnded, failed, type AgentTemplate, type TaskOf } from '../template.ts'
import { compact, estimateTokens } from './compaction.ts'
import { openingMessages, withCacheBreakpoint } from './conversation.ts'
import { httpFetch } from './http-fetch.ts'
import { useLightGlobals } from './light-globals.ts'
import { callModel, type ModelTurn } from './model-call.ts'
import { systemPrompt } from './prompt.ts'
import { runTool, summarise, toolDefinitions } from './tool-runner.ts'
import { whileUnreachable } from './unreachable.ts'

/** Answers in a row that max_tokens may cut before the attempt ends. */
const MAX_CUT_ANSWERS = 3
/** The model is told when so many turns are left. */
const WARN_TURNS_LEFT = [5, 2]
/** Part of the context budget that compaction leaves in use. */
const COMPACT_TO = 0.6

/**
 * A plain loop on the Messages API: call, run the tools that the answer asks for, send their results, until `finish` or
 * `ask_human` is called or a limit is reached. The credential is none of its business: the runner adds it on the way out.
 */
export const claude: AgentTemplate<'claude'> = {
  name: 'claude',
  async run(task, emit, signal) {
    useLightGlobals()
    // BaseAnthropic and the one resource that we call, not the whole client: half the bundle.
    const client = new Messages(new BaseAnthropic({
      // Keeps the SDK from looking for credentials in files and the environment; no header is made of it (see below).
      apiKey: 'none',
      baseURL: task.modelBaseUrl,
      maxRetries: 0,
      timeout: task.limits.modelSilenceSeconds * 1_000,
      logLevel: 'off',
      fetch: httpFetch,
      defaultHeaders: { authorization: null, 'x-correlation-id': task.correlationId, 'x-swarm-role': task.role, 'x-swarm-ticket': task.ticket.id, 'x-swarm-attempt': task.attemptId },
    }))
    const workspace = await openWorkspace(task.workspace)
    const memory = new FileMemory()
    const loop = new Loop(task, client, { workspace, memory, emit, signal }, await headOf(workspace.root, signal))
    return loop.run()
  },
}

type Step = { outcome: AgentOutcome } | { reply: ContentBlockParam[] } | { resend: true }

class Loop {
  readonly #task: TaskOf<'claude'>
  readonly #client: Messages
  readonly #context: Omit<ToolContext, 'callId'>
  readonly #startHead: string
  readonly #system: TextBlockParam[]
  #messages: MessageParam[]
  #turns: number
  #tokens = 0
  #cutAnswers = 0
  #reminded = false

  constructor(task: TaskOf<'claude'>, client: Messages, context: Omit<ToolContext, 'callId'>, startHead: string) {
    this.#task = task
    this.#client = client
    this.#context = context
    this.#startHead = startHead
    this.#system = [{ type: 'text', text: systemPrompt(task), cache_control: { type: 'ephemeral' } }]
    this.#messages = openingMessages(task)
    // Turns before a question count: parking must not be a way round the limit.
    this.#turns = this.#messages.filter((message) => message.role === 'assistant').length
  }

  async run(): Promise<AgentOutcome> {
    const { limits } = this.#task
    for (;;) {
      if (this.#turns >= limits.turns) return failed('agent', 'turn_limit', `The attempt used up its ${limits.turns} turns.`)
      if (this.#tokens >= limits.tokens) return failed('agent', 'token_limit', `The attempt used ${this.#tokens} of its ${limits.tokens} tokens.`)
      const turn = await this.#call()
      if (turn.content.length > 0) this.#messages.push({ role: 'assistant', content: turn.content })
      const step = await this.#act(turn)
      if ('outcome' in step) return step.outcome
      if ('reply' in step) this.#messages.push({ role: 'user', content: this.#withWarning(step.reply) })
      this.#compactIfNeeded(turn)
    }
  }

  async #call(): Promise<ModelTurn> {
    const { config, limits } = this.#task
    const turn = await whileUnreachable(() => callModel(this.#client, {
      model: config.model,
      max_tokens: limits.maxOutputTokens,
      system: this.#system,
      tools: toolDefinitions(config.tools),
      messages: withCacheBreakpoint(this.#messages),
      stream: true,
    }, { silenceMs: limits.modelSilenceSeconds * 1_000, signal: this.#context.signal }), this.#context.signal)
    this.#turns++
    this.#tokens += turn.usage.input + turn.usage.output
    const { emit } = this.#context
    emit({ type: 'turn', number: this.#turns, inputTokens: turn.usage.input, outputTokens: turn.usage.output, cacheReadTokens: turn.usage.cacheRead, stopReason: turn.stopReason })
    for (const block of turn.content) if (block.type === 'text') emit({ type: 'text', text: block.text })
    return turn
  }

  async #act(turn: ModelTurn): Promise<Step> {
    this.#cutAnswers = turn.stopReason === 'max_tokens' ? this.#cutAnswers + 1 : 0
    if (this.#cutAnswers >= MAX_CUT_ANSWERS) return { outcome: failed('agent', 'output_limit', `${MAX_CUT_ANSWERS} answers in a row were cut at ${this.#task.limits.maxOutputTokens} tokens.`) }
    if (turn.stopReason === 'refusal') return { outcome: failed('model', 'refusal', 'The model declined to go on.') }
    if (turn.stopReason === 'model_context_window_exceeded') return { outcome: failed('model', 'context_window', "The conversation is larger than the model's context window.") }
    if (turn.stopReason === 'pause_turn' && turn.content.length > 0) return { resend: true }
    const calls = turn.content.filter((block) => block.type === 'tool_use')
    if (calls.length > 0) return this.#runCalls(calls, turn.cutToolUseId)
    if (turn.stopReason === 'max_tokens') return { reply: [{ type: 'text', text: 'Your answer was cut at the output limit. Go on, in smaller steps.' }] }
    return this.#endedWithoutFinish(turn)
  }

  /** Runs the calls in their order, `finish` and `ask_human` after all others. */
  async #runCalls(calls: readonly ToolUseBlockParam[], cutToolUseId: string | null): Promise<Step> {
    const results = new Map<string, ToolResultBlockParam>()
    const answer = (call: ToolUseBlockParam, text: string): void => {
      this.#context.emit({ type: 'tool_result', id: call.id, tool: call.name, ok: false, summary: text, wallMs: 0 })
      results.set(call.id, { type: 'tool_result', tool_use_id: call.id, content: text, is_error: true })
    }
    const controls: ToolUseBlockParam[] = []
    for (const call of calls) {
      if (call.id === cutToolUseId) answer(call, 'This call was cut at the output limit, so it was not run. Make it again in smaller steps: create a file with its first part, then extend it with edit_file.')
      else if (call.name === 'finish' || (call.name === 'ask_human' && this.#task.config.tools.includes('ask_human'))) controls.push(call)
      else results.set(call.id, await runTool(call, this.#task.config.tools, this.#context))
    }
    const othersFailed = [...results.values()].some((result) => result.is_error === true)
    let question: { call: ToolUseBlockParam; input: { question: string; options?: string[] | undefined } } | null = null
    for (const call of controls) {
      this.#context.emit({ type: 'tool_call', id: call.id, tool: call.name, summary: summarise(call.input) })
      try {
        if (call.name === 'ask_human') {
          const input = parseInput(call.name, AskHumanInput, call.input)
          if (question !== null) answer(call, 'One question at a time: this one was not asked.')
          else question = { call, input }
        } else {
          const input = parseInput(call.name, FinishInput, call.input)
          if (othersFailed) answer(call, 'Not finished: another call of this turn failed. Look at it, then finish.')
          else if (controls.length > 1) answer(call, 'Not finished: finish must be the only call of its kind in a turn, and not beside a question.')
          else return { outcome: { type: 'finished', summary: input.summary } }
        }
      } catch (error) {
        if (!(error instanceof ToolError)) throw error
        answer(call, error.message)
      }
    }
    // The API wants one result for each call, in one message.
    const reply = calls.flatMap((call) => results.get(call.id) ?? [])
    if (question === null) return { reply }
    const transcript = reply.length === 0 ? this.#messages : [...this.#messages, { role: 'user', content: reply }]
    return { outcome: { type: 'question', question: question.input.question, options: question.input.options ?? [], toolUseId: question.call.id, transcript } }
  }

  /**
   * The model ended its turn and called nothing. It is reminded once; after that, work in the tree counts as finished (gate and
   * checks judge it anyway), and an untouched tree as a failure of the agent.
   */
  async #endedWithoutFinish(turn: ModelTurn): Promise<Step> {
    if (!this.#reminded) {
      this.#reminded = true
      const text = 'You ended your turn without calling a tool. If the work is done, call finish with a summary; otherwise go on.'
      // After an empty answer the last message is still ours, and roles must alternate.
      const last = this.#messages.at(-1)
      if (turn.content.length > 0 || last?.role !== 'user' || typeof last.content === 'string') return { reply: [{ type: 'text', text }] }
      this.#messages[this.#messages.length - 1] = { role: 'user', content: [...last.content, { type: 'text', text }] }
      return { resend: true }
    }
    if (!(await this.#workTreeChanged())) return { outcome: failed('agent', 'no_finish', 'The agent stopped twice without calling finish and changed nothing.') }
    const said = turn.content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n')
    return { outcome: { type: 'finished', summary: said === '' ? 'The agent stopped without a summary.' : said } }
  }

  async #workTreeChanged(): Promise<boolean> {
    const { workspace, signal } = this.#context
    const status = await runProcess(['git', 'status', '--porcelain'], { cwd: workspace.root, maxOutputBytes: 10_000, signal })
    return status.output.trim() !== '' || (await headOf(workspace.root, signal)) !== this.#startHead
  }

  #withWarning(reply: ContentBlockParam[]): ContentBlockParam[] {
    const left = this.#task.limits.turns - this.#turns
    return WARN_TURNS_LEFT.includes(left) ? [...reply, { type: 'text', text: `${left} turns are left. Bring the work to an end and call finish.` }] : reply
  }

  #compactIfNeeded(turn: ModelTurn): void {
    const budget = this.#task.config.contextTokens
    // Measured for what the model has seen, estimated for what is new since.
    const context = turn.usage.input + turn.usage.cacheRead + turn.usage.output + estimateTokens(this.#messages.slice(-1))
    if (context <= budget) return
    const result = compact(this.#messages, Math.ceil(context - budget * COMPACT_TO))
    if (result.elidedCalls.length === 0) return
    this.#messages = result.messages
    for (const call of result.elidedCalls) this.#context.memory.forgetCall(call)
    this.#context.emit({ type: 'compacted', elided: result.elidedCalls.length, bytes: result.removed, contextTokens: context })
  }
}

async function headOf(folder: string, signal: AbortSignal): Promise<string> {
  const result = await runProcess(['git', 'rev-parse', 'HEAD'], { cwd: folder, maxOutputBytes: 1_000, signal })
  if (result.exitCode !== 0) throw new AttemptEnded('infrastructure', 'no_repository', `The workspace ${folder} is no git repository with a commit: ${result.output.trim()}`)
  return result.output.trim()
}
