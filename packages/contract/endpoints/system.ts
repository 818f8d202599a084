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

export const createLiveTicket = endpoint({
  method: 'POST', path: '/api/system/live-tickets', access: ['admin'], tag: 'system', status: 201,
  summary: 'A ticket that opens one live connection (/ws?ticket=…) within 30 s, for clients that cannot send headers there',
  response: z.object({ ticket: z.string(), expiresAt: Time }),
})
