import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { filesOfCommits } from '@swarm/git/history.ts'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { expectedFiles } from './file-history.ts'
import { fileHistoryDuty } from './history-duty.ts'
import { engineOver } from './testing.ts'

const WHO = { GIT_AUTHOR_NAME: 't', GIT_AUTHOR_EMAIL: 't@localhost', GIT_COMMITTER_NAME: 't', GIT_COMMITTER_EMAIL: 't@localhost' }
const never = new AbortController().signal

eachDialect((_dialect, make) => {
  test('the commits of an imported repository are read once, and say what changes with a declared file', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const folder = await mkdtemp(join(tmpdir(), 'swarm-history-'))
    try {
      await git(folder, ['init', '-q', '-b', 'main'])
      for (let round = 0; round < 4; round++) {
        for (const name of round < 3 ? ['model.js', 'ünter view.js'] : ['model.js']) await writeFile(join(folder, name), `${round}\n`)
        await git(folder, ['add', '-A'])
        await git(folder, ['commit', '-q', '-m', 'x'], { env: WHO })
      }
      let reads = 0
      const duty = fileHistoryDuty({ db, readHistory: async (_, commits) => {
        reads += 1
        return filesOfCommits(folder, 'refs/heads/main', commits)
      } })
      await Promise.all([duty.run(never), duty.run(never)])
      expect(await duty.run(never)).toBe(false)
      expect(reads).toBeLessThanOrEqual(2)
      const files = await expectedFiles(db.read, [{ id: 'TKT-1', repository_id: engine.repositoryId, predicted_files: '["model.js"]' }])
      expect(files.get('TKT-1')).toEqual({ 'model.js': 1, 'ünter view.js': 0.75 * 0.8 })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
