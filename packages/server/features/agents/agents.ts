import * as endpoints from '@swarm/contract/endpoints/agents.ts'
import type { Context } from '../../context.ts'
import { page } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { createAgent, editAgent, listAgents, requireAgent } from './service.ts'

export function registerAgents(context: Context): void {
  const { http, db, ids, clock } = context
  register(http, endpoints.listAgents, async ({ query }) => page(await listAgents(db.read, { after: query.cursor ?? '', limit: query.limit + 1 }), query.limit, (agent) => agent, ({ name }) => name))
  register(http, endpoints.createAgent, async ({ body, correlationId }) => db.write((trx) => createAgent(trx, { ...body, id: ids('agent'), now: clock(), correlationId })))
  register(http, endpoints.showAgent, async ({ params, query }) => requireAgent(db.read, params.name, query.version))
  register(http, endpoints.editAgent, async ({ params, body, correlationId }) => db.write((trx) => editAgent(trx, { ...params, ...body, now: clock(), correlationId })))
}

/** Agents that every installation starts with: made once, then the installation's own to edit. */
export async function ensureDefaultAgents(context: Context): Promise<void> {
  await context.db.write(async (trx) => {
    if ((await listAgents(trx)).length > 0) return
    await createAgent(trx, {
      id: context.ids('agent'), name: 'developer', now: context.clock(), correlationId: 'start',
      definition: {
        description: 'Implements one ticket: reads the code, edits files, runs the tests, finishes.',
        config: {
          template: 'claude', model: context.config.model.defaultModel, contextTokens: 120_000,
          persona: 'You are a careful software engineer. You read before you write, keep changes small and within scope, write tests for what you build, and run them before you finish.',
          tools: ['bash', 'read_file', 'write_file', 'edit_file', 'glob', 'grep', 'ask_human', 'finish'],
        },
        limits: {}, vm: {},
      },
    })
  })
}
