import { z } from 'zod'
import { endpoint } from '../endpoint.ts'
import { pageOf, PageQuery, Slug, Time } from './shared.ts'

export const ProjectSettings = z.object({
  /** Hosts that microVMs of this project may reach: exact, `*.suffix`, or `preset:npm`. swarm.yml can only choose among them. */
  egressAllow: z.array(z.string().max(253)).max(200).default([]),
  /** Tickets of this project that agents may work on at the same time. */
  concurrency: z.number().int().min(1).max(1000).default(8),
})
export type ProjectSettings = z.infer<typeof ProjectSettings>

export const Project = z.object({ id: z.string(), slug: Slug, name: z.string(), settings: ProjectSettings, createdAt: Time })
export type Project = z.infer<typeof Project>

export const listProjects = endpoint({
  method: 'GET', path: '/api/projects', access: ['admin'], tag: 'projects', summary: 'Lists projects', query: PageQuery, response: pageOf(Project),
})
export const createProject = endpoint({
  method: 'POST', path: '/api/projects', access: ['admin'], tag: 'projects', status: 201, summary: 'Creates a project',
  body: z.object({ slug: Slug, name: z.string().min(1).max(200).optional(), settings: ProjectSettings.partial().optional() }), response: Project,
})
export const showProject = endpoint({
  method: 'GET', path: '/api/projects/:projectId', access: ['admin'], tag: 'projects', summary: 'Shows a project, by id or slug',
  params: z.object({ projectId: z.string() }), response: Project,
})
export const updateProject = endpoint({
  method: 'PATCH', path: '/api/projects/:projectId', access: ['admin'], tag: 'projects', summary: 'Changes the name or settings of a project',
  params: z.object({ projectId: z.string() }), body: z.object({ name: z.string().min(1).max(200).optional(), settings: ProjectSettings.partial().optional() }), response: Project,
})
