import { openDatabase } from '@swarm/server/db/open.ts'
import { designStage, longSpec, seedProject } from './stage.ts'

/*
 * A control plane reduced to the design feature, as a process of its own that can be killed:
 * node designing.ts create|idea|resume HOME DATABASE_URL|- REPOSITORY MODEL_URL
 *
 * `idea` begins with one that is asked about; `resume` answers what is asked, as a person would in the meantime.
 */
const [mode, home = '', databaseUrl, repository = '', modelUrl = ''] = process.argv.slice(2)
await using db = await openDatabase({ home, databaseUrl: databaseUrl === '-' ? undefined : databaseUrl })
await using stage = designStage(db, repository, modelUrl)
const about = { projectId: 'PRJ-1', repositoryId: 'REP-1', by: 'admin admin', tokenCap: 4_000, correlationId: 'corr-12345678' }
if (mode === 'resume') await stage.design.resumeOpenSessions()
else {
  await seedProject(db)
  await stage.design.create(mode === 'idea' ? { ...about, input: 'A page that works out tips.', clarify: 'auto' } : { ...about, spec: longSpec(60), clarify: 'off' })
}
for (let open = true; open;) {
  await stage.design.idle()
  const question = await db.read.selectFrom('clarifications').selectAll().where('answer', 'is', null).executeTakeFirst()
  open = question !== undefined
  if (question) await stage.design.answer({ sessionId: question.session_id, number: question.number, answer: `Answer ${question.number}.`, by: 'admin admin', correlationId: 'corr-87654321' })
}
