import { PROJECT_ROLES } from '@swarm/core/policy/actions.ts'
import { z } from 'zod'
import { endpoint, inBody, inParams } from '../endpoint.ts'
import { StatedVmLimits } from '../runner-protocol.ts'
import { pageOf, PageQuery, Slug, Time } from './shared.ts'

const Ceiling = z.number().int().min(0).nullable()
const settings = {
  /** Hosts that microVMs of this project may reach: exact, `*.suffix`, or `preset:npm`. swarm.yml can only choose among them. */
  egressAllow: z.array(z.string().max(253)).max(200),
  /** Tickets of this project that agents may work on at the same time. */
  concurrency: z.number().int().min(1).max(1000),
  /** Ceilings of model calls (docs/budgets.md): micro-dollars, and input and output tokens together; null = none. For the whole project … */
  maxCostMicroUsd: Ceiling, maxTokens: Ceiling,
  /** … for each of its tickets, over all attempts … */
  ticketMaxCostMicroUsd: Ceiling, ticketMaxTokens: Ceiling,
  /** … and for each attempt, beside `limits.usd` of swarm.yml and of the agent: the lowest holds. */
  attemptMaxCostMicroUsd: Ceiling, attemptMaxTokens: Ceiling,
  /** Limits of its microVMs, of attempts and of checks; of these, of swarm.yml's and of the agent's, each time the tightest holds. */
  vm: StatedVmLimits,
  /** Who sees it: every member of its organisation, or only its own members and the organisation's administrators. */
  visibility: z.enum(['organization', 'members']),
}
/** How changes are reviewed (docs/review.md). */
const review = {
  /** Different people who must approve before a change is merged. */
  people: z.number().int().min(1).max(10),
  /** The agent reviewer: none; its opinion is shown to people; or it also sends changes back by itself, a few times. */
  agent: z.enum(['off', 'advise', 'require']),
  /** Score, of 100, below which the agent reviewer is not content. */
  minimumScore: z.number().int().min(0).max(100),
  /** Whoever ordered the work does not count among those who approve. */
  notAuthor: z.boolean(),
}
export const ReviewSettings = z.object({ people: review.people.default(1), agent: review.agent.default('off'), minimumScore: review.minimumScore.default(70), notAuthor: review.notAuthor.default(false) })

export const ProjectSettings = z.object({
  egressAllow: settings.egressAllow.default([]), concurrency: settings.concurrency.default(8),
  maxCostMicroUsd: Ceiling.default(null), maxTokens: Ceiling.default(null), ticketMaxCostMicroUsd: Ceiling.default(null), ticketMaxTokens: Ceiling.default(null),
  attemptMaxCostMicroUsd: Ceiling.default(null), attemptMaxTokens: Ceiling.default(null), vm: settings.vm.default({}), visibility: settings.visibility.default('organization'),
  review: ReviewSettings.prefault({}),
})
export type ProjectSettings = z.infer<typeof ProjectSettings>
/** Some of them, without defaults: what is not named stays as it is. */
export const ProjectSettingsPatch = z.object({ ...settings, review: z.object(review).partial() }).partial()
export type ProjectSettingsPatch = z.infer<typeof ProjectSettingsPatch>

export const Project = z.object({ id: z.string(), organizationId: z.string(), slug: Slug, name: z.string(), settings: ProjectSettings, createdAt: Time })
export type Project = z.infer<typeof Project>

export const listProjects = endpoint({
  method: 'GET', path: '/api/projects', access: ['person'], action: 'project:read', on: 'visible', tag: 'projects', summary: 'Lists projects', query: PageQuery, response: pageOf(Project),
})
export const createProject = endpoint({
  method: 'POST', path: '/api/projects', access: ['person'], action: 'project:create', on: inBody('organization', 'organizationId'), tag: 'projects', status: 201, summary: 'Creates a project',
  body: z.object({ /** The first organisation unless given. */ organizationId: z.string().max(200).optional(), slug: Slug, name: z.string().min(1).max(200).optional(), settings: ProjectSettingsPatch.optional() }), response: Project,
})
export const showProject = endpoint({
  method: 'GET', path: '/api/projects/:projectId', access: ['person'], action: 'project:read', on: inParams('project', 'projectId'), tag: 'projects', summary: 'Shows a project, by id or slug',
  params: z.object({ projectId: z.string() }), response: Project,
})
export const updateProject = endpoint({
  method: 'PATCH', path: '/api/projects/:projectId', access: ['person'], action: 'project:update', on: inParams('project', 'projectId'), tag: 'projects', summary: 'Changes the name or settings of a project',
  params: z.object({ projectId: z.string() }), body: z.object({ name: z.string().min(1).max(200).optional(), settings: ProjectSettingsPatch.optional() }), response: Project,
})

/** Somebody's role in this one project, beside the one in its organisation: what they may do is what either allows. */
export const ProjectMember = z.object({ userId: z.string(), name: z.string(), email: z.string(), role: z.enum(PROJECT_ROLES), addedBy: z.string(), createdAt: Time })
export type ProjectMember = z.infer<typeof ProjectMember>
const ByMember = z.object({ projectId: z.string().max(200), userId: z.string().max(200) })
export const listProjectMembers = endpoint({
  method: 'GET', path: '/api/projects/:projectId/members', access: ['person'], action: 'project:read', on: inParams('project', 'projectId'), tag: 'projects', summary: 'Lists the members of a project',
  params: z.object({ projectId: z.string().max(200) }), query: PageQuery, response: pageOf(ProjectMember),
})
export const setProjectMember = endpoint({
  method: 'PUT', path: '/api/projects/:projectId/members/:userId', access: ['person'], action: 'project:members', on: inParams('project', 'projectId'), tag: 'projects', summary: 'Makes a member of the organisation a member of a project, or changes their role there',
  params: ByMember, body: z.object({ role: z.enum(PROJECT_ROLES) }), response: ProjectMember,
})
export const removeProjectMember = endpoint({
  method: 'DELETE', path: '/api/projects/:projectId/members/:userId', access: ['person'], action: 'project:members', on: inParams('project', 'projectId'), tag: 'projects', status: 204, summary: 'Takes somebody out of a project',
  params: ByMember, response: z.undefined(),
})
