import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

/** demo.json: what `swarm demo` plays. Paths are relative to the file. */
export const DemoDefinition = z.strictObject({
  title: z.string().min(1),
  spec: z.string().min(1),
  script: z.string().min(1),
  repositorySlug: z.string().regex(/^[a-z0-9-]+$/),
  swarmYml: z.string().min(1),
  readme: z.string().min(1),
  /** Answers to questions of agents: the first whose `match` occurs in the question. */
  answers: z.array(z.strictObject({ match: z.string().min(1), answer: z.string().min(1) })),
  /** Program that proves the end state: `node VERIFY REPOSITORY` prints one JSON line and exits 0 when it holds. */
  verify: z.string().min(1),
})

/** The demo of this folder, with its texts read. */
export function readDemo(): z.infer<typeof DemoDefinition> & { scriptFile: string; files: Record<string, string>; specText: string } {
  const at = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
  const text = (name: string): string => readFileSync(at(name), 'utf8')
  const demo = DemoDefinition.parse(JSON.parse(text('demo.json')))
  return { ...demo, scriptFile: at(demo.script), specText: text(demo.spec), files: { 'README.md': text(demo.readme), '.gitignore': 'node_modules/\n', 'swarm.yml': text(demo.swarmYml) } }
}
