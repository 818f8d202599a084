import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/*
 * For the tests of this folder: a server that speaks the streaming Messages API and plays answers given by the test.
 */

export interface SeenRequest {
  headers: IncomingHttpHeaders
  body: { model: string; max_tokens: number; system: { text: string; cache_control?: unknown }[]; tools: { name: string; input_schema: Record<string, unknown> }[]; messages: { role: string; content: { type: string; text?: string; content?: string; is_error?: boolean; tool_use_id?: string; cache_control?: unknown; input?: Record<string, unknown> }[] }[] }
}
type Call = [tool: string, input: unknown]
export type Answer = (response: ServerResponse, request: SeenRequest) => void

export interface MessagesServer extends Disposable {
  url: string
  requests: SeenRequest[]
  /** The results that the last request carried. */
  lastResults(): { content: string; isError: boolean }[]
}

export async function messagesServer(answers: Answer[]): Promise<MessagesServer> {
  const requests: SeenRequest[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const seen: SeenRequest = { headers: request.headers, body: JSON.parse(Buffer.concat(chunks).toString('utf8')) as SeenRequest['body'] }
      requests.push(seen)
      const answer = answers[requests.length - 1]
      if (request.url !== '/v1/messages' || answer === undefined) response.writeHead(500, { 'content-type': 'application/json' }).end('{"type":"error","error":{"type":"api_error","message":"the script is over"}}')
      else answer(response, seen)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    lastResults: () => (requests.at(-1)?.body.messages.at(-1)?.content ?? []).filter((block) => block.type === 'tool_result').map((block) => ({ content: block.content ?? '', isError: block.is_error === true })),
    [Symbol.dispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

let nextId = 0

/** A complete answer: text, then calls. JSON inputs go out in two pieces, as a stream may cut them anywhere. */
export function say(options: { text?: string; calls?: Call[]; stop?: string; usage?: Record<string, number>; rawInput?: string; cut?: boolean }): Answer {
  return (response) => {
    const send = begin(response, options.usage ?? { input_tokens: 100, output_tokens: 1 })
    let index = 0
    if (options.text !== undefined) {
      send({ type: 'content_block_start', index, content_block: { type: 'text', text: '' } })
      send({ type: 'content_block_delta', index, delta: { type: 'text_delta', text: options.text } })
      send({ type: 'content_block_stop', index: index++ })
    }
    for (const [name, input] of options.calls ?? []) {
      const json = options.rawInput ?? JSON.stringify(input)
      send({ type: 'content_block_start', index, content_block: { type: 'tool_use', id: `toolu_${++nextId}`, name, input: {} } })
      for (const piece of [json.slice(0, json.length / 2), json.slice(json.length / 2)]) send({ type: 'content_block_delta', index, delta: { type: 'input_json_delta', partial_json: piece } })
      send({ type: 'content_block_stop', index: index++ })
    }
    if (options.cut === true) {
      response.end()
      return
    }
    send({ type: 'message_delta', delta: { stop_reason: options.stop ?? (options.calls === undefined ? 'end_turn' : 'tool_use'), stop_sequence: null }, usage: { output_tokens: 20 } })
    send({ type: 'message_stop' })
    response.end()
  }
}

export function begin(response: ServerResponse, usage: Record<string, number> = { input_tokens: 100, output_tokens: 1 }): (event: { type: string; [key: string]: unknown }) => void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (event: { type: string; [key: string]: unknown }): void => void response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  send({ type: 'message_start', message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'test', content: [], stop_reason: null, stop_sequence: null, usage } })
  return send
}

export function refuse(status: number, error: Record<string, unknown>): Answer {
  return (response) => void response.writeHead(status, { 'content-type': 'application/json', 'x-should-retry': 'false' }).end(JSON.stringify({ type: 'error', error }))
}

export const finish: Answer = say({ calls: [['finish', { summary: 'Done.' }]] })
