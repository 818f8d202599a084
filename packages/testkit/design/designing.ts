import { openDatabase } from '@swarm/server/db/open.ts'
import { designStage, longSpec, seedProject } from './stage.ts'

/*
 * A control plane reduced to the design feature, as a process of its own that can be killed:
 * node designing.ts create|resume HOME DATABASE_URL|- REPOSITORY MODEL_URL
 */
const [mode, home = '', databaseUrl, repository = '', modelUrl = ''] = process.argv.slice(2)
await using db = await openDatabase({ home, databaseUrl: databaseUrl === '-' ? undefined : databaseUrl })
await using stage = designStage(db, repository, modelUrl)
if (mode === 'create') {
  await seedProject(db)
  await stage.design.create({ projectId: 'PRJ-1', repositoryId: 'REP-1', spec: longSpec(60), clarify: 'off', by: 'admin admin', tokenCap: 4_000, correlationId: 'corr-12345678' })
} else await stage.design.resumeOpenSessions()
await stage.design.idle()
