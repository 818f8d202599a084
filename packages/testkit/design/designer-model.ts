import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { COVERAGE_AREAS } from '@swarm/core/design/clarify.ts'
import { z } from 'zod'

const Request = z.looseObject({ model: z.string(), max_tokens: z.number(), system: z.string(), messages: z.array(z.object({ role: z.string(), content: z.string() })) })

/** A request of the designer as a model would read it. */
export interface DesignerCall {
  readonly step: string
  /** What the user turn says. */
  readonly content: string
  /** Requirements in it, by the lines of its last part. */
  readonly requirements: readonly { id: string; text: string }[]
  readonly digest: string
  /** Size of the whole request body, and the most that may be answered. */
  readonly bytes: number
  readonly maxTokens: number
}

/** `submit`: input of the tool call; `raw`: a whole response body; `hold`: no answer ever (the caller is killed meanwhile). */
export type DesignerAnswer = { submit: unknown } | { raw: unknown } | { hold: true }

export interface DesignerModel extends AsyncDisposable {
  readonly url: string
  /** Every call that got an answer, in order. */
  readonly served: readonly DesignerCall[]
}

/** A local HTTP server that speaks enough of the Messages API to play the designer's model by a function. */
export async function startDesignerModel(answer: (call: DesignerCall, servedBefore: number) => DesignerAnswer): Promise<DesignerModel> {
  const served: DesignerCall[] = []
  const server = createServer((request, response) => {
    void read(request).then((body) => {
      const parsed = Request.parse(JSON.parse(body))
      const content = parsed.messages[0]?.content ?? ''
      const call: DesignerCall = {
        step: /^Swarm-Step: (.+)$/m.exec(parsed.system)?.[1] ?? '', content, requirements: requirementsIn(content),
        digest: createHash('sha256').update(body).digest('hex'), bytes: Buffer.byteLength(body), maxTokens: parsed.max_tokens,
      }
      const given = answer(call, served.length)
      if ('hold' in given) return
      served.push(call)
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify('raw' in given ? given.raw : {
        id: `msg_${served.length}`, type: 'message', role: 'assistant', model: parsed.model, stop_reason: 'tool_use', stop_sequence: null, usage: { input_tokens: 1, output_tokens: 1 },
        content: [{ type: 'tool_use', id: `toolu_${served.length}`, name: 'submit', input: given.submit }],
      }))
    }).catch((error: unknown) => { response.statusCode = 500; response.end(String(error)) })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    served,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise<void>((resolve) => { server.close(() => resolve()) })
    },
  }
}

/** A designer that does what it is asked: an epic per ten requirements, a ticket per requirement. */
export function diligent(call: DesignerCall): DesignerAnswer {
  if (call.step.startsWith('clarify')) return { submit: { coverage: scores(90), acknowledgement: '', question: null } }
  if (call.step.startsWith('card')) return { submit: cardOf(call) }
  if (call.step.startsWith('skeleton')) {
    const groups = Map.groupBy(call.requirements, ({ id }) => `part-${Math.floor((Number(id.replace(/\D/g, '')) - 1) / 10) + 1}`)
    return { submit: { epics: [...groups].map(([key, requirements]) => ({ key, title: `Part ${key}`, requirements: requirements.map(({ id }) => id), dependsOn: key === 'part-1' ? [] : ['part-1'] })) } }
  }
  return { submit: { tickets: call.requirements.map(({ id, text }) => ({ key: `do-${id}`, title: text.slice(0, 60), description: `Build ${id}.`, acceptance: [`A test shows ${id}.`], requirements: [id], scope: [`src/${id}.js`, 'test/**'], storyPoints: 2 })) } }
}

/** The same score for every area. */
export function scores(score: number): Record<string, number> {
  return Object.fromEntries(COVERAGE_AREAS.map((area) => [area, score]))
}

/** A clarifier that asks these questions one after the other, and is content then. */
export function asking(questions: readonly { text: string; options?: readonly string[]; files?: readonly string[] }[]): (call: DesignerCall) => DesignerAnswer {
  return (call) => {
    const number = Number(/^clarify:(\d+)/.exec(call.step)?.[1] ?? 0)
    if (number === 0) return diligent(call)
    const question = questions[number - 1]
    return { submit: { coverage: scores(question ? 20 + 10 * number : 85), acknowledgement: number === 1 ? '' : `I noted answer ${number - 1}.`, question: question ? { ...question, area: 'features' } : null } }
  }
}

/** A card with a requirement for the idea and one for each answer. */
function cardOf({ content }: DesignerCall): Record<string, unknown> {
  const answers = [...content.matchAll(/^\d+\. (.*)\n {3}(.*)$/gm)].filter((match) => match[2] !== '(not answered)')
  const idea = /^What is wanted:\n(.*)$/m.exec(content)?.[1] ?? ''
  return {
    title: 'Card', overview: idea, users: ['Everybody.'], technical: [], constraints: ['No framework.'], outOfScope: [],
    requirements: [idea, ...answers.map((match) => `${match[1] ?? ''} ${match[2] ?? ''}`)].map((text, index) => ({ id: `R${index + 1}`, text, acceptance: [`A test shows ${index + 1}.`] })),
  }
}

function requirementsIn(content: string): { id: string; text: string }[] {
  const part = content.split(/^Requirements:$/m)[1]?.split('\n\n')[0] ?? ''
  return [...part.matchAll(/^- (\S+): (.*)$/gm)].map((match) => ({ id: match[1] ?? '', text: match[2] ?? '' }))
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
