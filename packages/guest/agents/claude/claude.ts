import type { AgentTemplate } from '../template.ts'
export const claude = {} as AgentTemplate<'claude'>
