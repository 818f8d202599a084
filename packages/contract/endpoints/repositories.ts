import { z } from 'zod'
import { endpoint, inBody, inParams, inQuery } from '../endpoint.ts'
import { pageOf, PageQuery, Slug, Time } from './shared.ts'

const Sha = z.string().regex(/^[0-9a-f]{40}([0-9a-f]{24})?$/)

export const Repository = z.object({
  id: z.string(), projectId: z.string(), slug: Slug, defaultBranch: z.string(),
  /** Where it was imported from, or null for one that Swarm made. Never holds credentials. */
  origin: z.string().nullable(),
  createdAt: Time,
})
export type Repository = z.infer<typeof Repository>

const BranchName = z.string().min(1).max(200).regex(/^(?![-/.])(?!.*(\.\.|@\{|\/\/|\.lock$|[/.]$))[^\x00-\x20\x7f~^:?*[\\]+$/, 'a git branch name')

export const createRepository = endpoint({
  method: 'POST', path: '/api/repositories', access: ['person'], action: 'repository:create', on: inBody('project', 'projectId'), tag: 'repositories', status: 201,
  summary: 'Makes a new repository with one commit: a README, a .gitignore and, when given, swarm.yml',
  body: z.object({
    projectId: z.string(), slug: Slug,
    /** First lines of the README; the slug unless given. */
    readme: z.string().max(100_000).optional(),
    gitignore: z.string().max(20_000).default('node_modules/\n'),
    /** Text of swarm.yml; read before anything is made. */
    swarmYml: z.string().max(65_536).optional(),
  }),
  response: Repository.extend({ head: Sha }),
})

export const importRepository = endpoint({
  method: 'POST', path: '/api/repositories/import', access: ['person'], action: 'repository:create', on: inBody('project', 'projectId'), tag: 'repositories',
  summary: 'Imports the committed state of one branch from an address (https, ssh, git), or, for super administrators, a path on the server\'s machine; again: takes what is new there',
  body: z.object({
    projectId: z.string(), slug: Slug,
    /** Absolute path or address; no credentials. The work tree and refs there are only read. */
    source: z.string().min(1).max(2_000),
    /** The branch that its HEAD names unless given. */
    branch: BranchName.optional(),
  }),
  response: Repository.extend({
    head: Sha,
    /** `ahead`: Swarm has merged more than the origin has; nothing to take. */
    outcome: z.enum(['imported', 'fast_forwarded', 'unchanged', 'ahead']),
    /** Said to the person, e.g. that uncommitted work was left out. */
    notes: z.array(z.string()),
  }),
})

export const listRepositories = endpoint({
  method: 'GET', path: '/api/repositories', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'repositories', summary: 'Lists repositories, oldest first',
  query: PageQuery.extend({ projectId: z.string().optional() }), response: pageOf(Repository),
})
export const showRepository = endpoint({
  method: 'GET', path: '/api/repositories/:repositoryId', access: ['person'], action: 'repository:read', on: inParams('repository', 'repositoryId'), tag: 'repositories', summary: 'Shows a repository',
  params: z.object({ repositoryId: z.string() }),
  response: Repository.extend({
    /** Folder of the bare repository on the server's machine. */
    path: z.string(),
  }),
})
export const repositoryHead = endpoint({
  method: 'GET', path: '/api/repositories/:repositoryId/head', access: ['person'], action: 'repository:read', on: inParams('repository', 'repositoryId'), tag: 'repositories', summary: 'The commit and tree of its default branch',
  params: z.object({ repositoryId: z.string() }),
  response: z.object({ branch: z.string(), sha: Sha, tree: Sha }),
})
export const pushRepository = endpoint({
  method: 'POST', path: '/api/repositories/:repositoryId/push', access: ['person'], action: 'repository:push', on: inParams('repository', 'repositoryId'), tag: 'repositories', summary: 'Fast-forwards the origin\'s branch to Swarm\'s; never forces',
  params: z.object({ repositoryId: z.string() }),
  response: z.object({ head: Sha, origin: z.string() }),
})
