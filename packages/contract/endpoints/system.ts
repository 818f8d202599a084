import { z } from 'zod'
import { endpoint } from '../endpoint.ts'
import { Time } from './shared.ts'

export const health = endpoint({
  method: 'GET', path: '/health', access: ['public'], tag: 'system',
  summary: 'Whether this server serves: its version and its database',
  response: z.object({
    status: z.literal('ok'),
    version: z.string(),
    database: z.object({ dialect: z.enum(['sqlite', 'postgres']), migration: z.string(), pingMs: z.number() }),
    uptimeMs: z.number(),
  }),
})

export const showConfig = endpoint({
  method: 'GET', path: '/api/system/config', access: ['person'], action: 'system:metrics', on: 'installation', tag: 'system', summary: 'Every setting of the server with its value, where that came from and what it means; secrets are hidden',
  response: z.object({ items: z.array(z.object({ setting: z.string(), value: z.json(), source: z.string(), environment: z.array(z.string()), description: z.string() })) }),
})

export const showAbout = endpoint({
  method: 'GET', path: '/api/system/about', access: ['person'], action: 'system:read', on: 'installation', tag: 'system', summary: 'What is installed: version, database, model and what runs microVMs',
  response: z.object({
    version: z.string(), database: z.object({ dialect: z.enum(['sqlite', 'postgres']), migration: z.string() }),
    /** Who serves the model. */
    model: z.object({ provider: z.string(), defaultModel: z.string() }),
    /** By driver of microVMs, as hosts told: how many there are, how many are online, and microVMs at once on those. */
    drivers: z.array(z.object({ driver: z.string(), isolates: z.boolean(), runners: z.number().int(), online: z.number().int(), capacity: z.number().int() })),
    startedAt: Time, uptimeMs: z.number().int(),
  }),
})

export const createLiveTicket = endpoint({
  method: 'POST', path: '/api/system/live-tickets', shownOnce: true, access: ['person'], action: 'live:connect', on: 'account', tag: 'system', status: 201,
  summary: 'A ticket that opens one live connection (/ws?ticket=…) within 30 s, for clients that cannot send headers there',
  response: z.object({ ticket: z.string(), expiresAt: Time }),
})

export const showModel = endpoint({
  method: 'GET', path: '/api/system/model', access: ['person'], action: 'system:read', on: 'installation', tag: 'system', summary: 'How the model provider does, by model, as far as this process has asked it',
  response: z.object({
    provider: z.string(),
    circuits: z.array(z.object({
      model: z.string(),
      /** closed: calls go through; open: calls wait until `nextTryAt`; half_open: one call probes, the others wait for it. */
      state: z.enum(['closed', 'open', 'half_open']), failures: z.number().int(), since: Time, nextTryAt: Time.nullable(),
    })),
  }),
})
