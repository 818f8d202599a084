import { Coverage } from '@swarm/contract/endpoints/design.ts'
import { COVERAGE_AREAS } from '@swarm/core/design/clarify.ts'
import { normalKey } from '@swarm/core/design/merge.ts'
import { z } from 'zod'

/*
 * The shapes in which the model hands in its work, by the tool `submit`. Lenient where a spelling has one meaning (keys,
 * white space, missing lists), strict where guessing would be needed; unknown fields are dropped.
 */

const Key = z.string().transform(normalKey).refine((key) => key !== '', 'a key needs letters or digits')
const Keys = z.array(Key).max(200).transform((keys) => [...new Set(keys)])
const Lines = z.array(z.string().max(4_000).transform((line) => line.trim())).max(100).transform((lines) => lines.filter((line) => line !== ''))
const Ids = z.array(z.string().max(100)).max(2_000)
const Title = z.string().trim().min(1).max(300)
const Points = z.number().min(0).max(1_000).transform((points) => Math.max(1, Math.round(points)))

const EpicFields = { title: Title, requirements: Ids, dependsOn: Keys }
const TicketFields = {
  title: Title, description: z.string().max(20_000), acceptance: Lines, requirements: Ids, scope: Lines, dependsOn: Keys, storyPoints: Points,
  agent: z.string().max(63).nullish().transform((agent) => agent?.trim() ?? ''),
}

const EpicAnswer = z.object({ key: Key, title: EpicFields.title, requirements: Ids.default([]), dependsOn: Keys.default([]) })
const TicketAnswer = z.object({
  key: Key, title: TicketFields.title, description: TicketFields.description.default(''), acceptance: Lines.default([]), requirements: Ids.default([]),
  scope: Lines.default([]), dependsOn: Keys.default([]), storyPoints: Points.default(3), agent: TicketFields.agent,
})

function distinct(entries: readonly { key: string }[], context: z.core.$RefinementCtx): void {
  const seen = new Set<string>()
  for (const { key } of entries) {
    if (seen.has(key)) context.addIssue({ code: 'custom', message: `the key "${key}" is used twice` })
    seen.add(key)
  }
}

export const SkeletonAnswer = z.object({ epics: z.array(EpicAnswer).min(1).max(200).superRefine(distinct) })
export const ExpandAnswer = z.object({ tickets: z.array(TicketAnswer).min(1).max(200).superRefine(distinct) })

const EpicChange = z.object({ key: Key, title: EpicFields.title.optional(), requirements: Ids.optional(), dependsOn: Keys.optional() })
const TicketChange = z.object({
  key: Key, title: Title.optional(), description: TicketFields.description.optional(), acceptance: Lines.optional(), requirements: Ids.optional(),
  scope: Lines.optional(), dependsOn: Keys.optional(), storyPoints: Points.optional(), agent: z.string().max(63).optional(),
})
export const EpicRepairAnswer = z.object({ epics: z.array(EpicChange).max(200).default([]).superRefine(distinct), remove: Keys.default([]) })
export const TicketRepairAnswer = z.object({ tickets: z.array(TicketChange).max(200).default([]).superRefine(distinct), remove: Keys.default([]) })

const Score = z.number().min(0).max(100).transform((score) => Math.round(score))
export const ClarifyAnswer = z.object({
  coverage: z.object(Object.fromEntries(COVERAGE_AREAS.map((area) => [area, Score])) as Record<(typeof COVERAGE_AREAS)[number], typeof Score>).pipe(Coverage),
  acknowledgement: z.string().max(2_000).default('').transform((text) => text.trim()),
  question: z.object({
    text: z.string().trim().min(1).max(1_000), options: Lines.default([]).transform((lines) => lines.slice(0, 8).map((line) => line.slice(0, 300))),
    area: z.enum(COVERAGE_AREAS), files: z.array(z.string().max(1_000)).max(50).default([]),
  }).nullable().default(null),
})
export const CardAnswer = z.object({
  title: Title, overview: z.string().max(10_000).default(''), users: Lines.default([]),
  requirements: z.array(z.object({ id: z.string().max(40).default(''), text: z.string().trim().min(1).max(4_000), acceptance: Lines.default([]) })).min(1).max(200),
  technical: Lines.default([]), constraints: Lines.default([]), acceptance: Lines.default([]), outOfScope: Lines.default([]),
})
