import { isHostName } from '@swarm/core/net/host-name.ts'
import { z } from 'zod'
import { endpoint, inBody, inParams, inQuery } from '../endpoint.ts'
import { Injection } from '../injection.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

/** Shortest and longest value, characters: a shorter one could not be told from other text where it is masked. */
export const SECRET_VALUE_MIN = 8
export const SECRET_VALUE_MAX = 8_192

const Name = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'lower-case letters, digits, hyphens and underscores, at most 63')
const Host = z.string().max(253).toLowerCase().refine(isHostName, 'an exact host name: no pattern, address or port')
  .refine((host) => !host.endsWith('.swarm.internal'), 'names of Swarm itself get no secrets')

/** What is said of a secret. Its value is never among it. */
export const SecretAbout = z.object({
  id: z.string(), name: z.string(),
  /** Of this project's microVMs alone; null: of those of every project of the organisation. */
  projectId: z.string().nullable(),
  organizationId: z.string(),
  /** Exact hosts whose requests get it; they must be on the allow-list of the work as well. */
  hosts: z.array(z.string()),
  injection: Injection,
  /** Grows by one with each new value; earlier ones are gone. */
  version: z.number().int(),
  createdAt: Time, createdBy: z.string(), updatedAt: Time, updatedBy: z.string(),
  /** When it last went out with a request, to the minute. */
  lastUsedAt: Time.nullable(),
})
export type SecretAbout = z.infer<typeof SecretAbout>

const ById = z.object({ secretId: z.string().max(64) })

export const listSecrets = endpoint({
  method: 'GET', path: '/api/secrets', access: ['person'], action: 'secret:read', on: inQuery('project', 'projectId', inQuery('organization', 'organizationId')), tag: 'secrets', summary: 'Lists secrets, without their values',
  query: PageQuery.extend({
    /** Those that this project's microVMs get: its own and its organisation's. Id or slug. */
    projectId: z.string().max(64).optional(),
    /** Without a project: all of this organisation, its projects' among them. The first one unless given. */
    organizationId: z.string().max(64).optional(),
  }),
  response: pageOf(SecretAbout),
})

export const showSecret = endpoint({
  method: 'GET', path: '/api/secrets/:secretId', access: ['person'], action: 'secret:read', on: inParams('secret', 'secretId'), tag: 'secrets', summary: 'Shows a secret, without its value', params: ById, response: SecretAbout,
})

export const setSecret = endpoint({
  method: 'PUT', path: '/api/secrets', access: ['person'], action: 'secret:edit', on: inBody('project', 'projectId', inBody('organization', 'organizationId')), tag: 'secrets',
  summary: 'Keeps a secret, or replaces the one of this name: its value, hosts and header together, so that only who knows the value says where it goes',
  body: z.object({
    name: Name,
    /** Id or slug; without one it is the organisation's (the first one's unless given). */
    projectId: z.string().max(64).optional(), organizationId: z.string().max(64).optional(),
    hosts: z.array(Host).min(1).max(50),
    injection: Injection,
    value: z.string().min(SECRET_VALUE_MIN).max(SECRET_VALUE_MAX).regex(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/, 'printable ASCII in one line, no blank at either end'),
  }),
  response: SecretAbout,
})

export const removeSecret = endpoint({
  method: 'DELETE', path: '/api/secrets/:secretId', access: ['person'], action: 'secret:edit', on: inParams('secret', 'secretId'), tag: 'secrets', status: 204, summary: 'Destroys a secret', params: ById, response: z.void(),
})

export const rotateSecretKeys = endpoint({
  method: 'POST', path: '/api/secrets/rotate-keys', access: ['person'], action: 'secret:keys', on: 'installation', tag: 'secrets',
  summary: 'Brings every secret under the newest key; no value changes. May be repeated, and goes on where it was cut off',
  body: z.object({
    /** Makes that key first, where keys are files; not while secrets are still under an older one. */
    newKey: z.boolean().default(false),
  }),
  response: z.object({
    /** That all secrets are under now. */
    keyId: z.string(), rewrapped: z.number().int(),
    /** Keys that are given and that no secret needs; backups from before may. */
    unneededKeyIds: z.array(z.string()),
  }),
})
