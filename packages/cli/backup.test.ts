import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { alterDatabase, columnOf, makeDesk, saying, SHOP, type Desk } from './testing.ts'

const RUN_MS = 300_000
const KEYS = ['one', 'two', 'three']
const SPEC = `# Numbers

## Requirements
${KEYS.map((key, index) => `- R${index + 1} A file src/${key}.js exports ${key}`).join('\n')}
`
/** Three tickets that need nothing of each other; their developers take their time. */
const script = (): string => `version: 1
title: Numbers
scenes:
  - role: designer
    step: skeleton
    turns:
      - json: { epics: [{ key: numbers, title: Numbers, requirements: [R1, R2, R3], dependsOn: [] }] }
  - role: designer
    step: "expand:numbers"
    turns:
      - json:
          tickets:
${KEYS.map((key, index) => `            - { key: ${key}, title: Number ${key}, description: The module, acceptance: [It is there], requirements: [R${index + 1}], scope: ["src/${key}.js"], dependsOn: [], storyPoints: 1 }`).join('\n')}
${KEYS.map((key, index) => `  - role: developer
    ticket: ${key}
    turns:
      - delay: ${1_000 + 1_500 * index}
        tools:
          - { name: write_file, input: { path: src/${key}.js, content: "export const ${key} = ${index + 1}\\n" } }
      - finish: The module`).join('\n')}
`

async function place(): Promise<Desk> {
  const desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script())
  await desk.repository('shop', SHOP)
  return desk
}
const RUN = ['run', '--spec', 'spec.md', '--repo', 'shop', '--yes', '--json']

test('backups of a platform at work hold all that their database names; the work goes on from one in another home', { timeout: RUN_MS }, async () => {
  await using desk = await place()
  expect(await desk.swarm(['start', '--port', '0', '--rehearsal', 'script.yml', '--json'])).toMatchObject({ code: 0 })
  const run = desk.spawn(RUN)
  let over = false
  const ended = once(run, 'close').then(([code]) => {
    over = true
    return code as number
  })
  await saying(run, /runs the agent/)
  const backups: string[] = []
  for (let n = 0; !over; n++) {
    const made = await desk.swarm(['backup', join(desk.folder, `${n}.tar.gz`), '--json'])
    expect(made, made.stderr).toMatchObject({ code: 0, json: { file: join(desk.folder, `${n}.tar.gz`), repositories: 1, counts: { tickets: 3 } } })
    backups.push(join(desk.folder, `${n}.tar.gz`))
  }
  expect(await ended).toBe(0)
  expect(statSync(backups[0] ?? '').mode & 0o777).toBe(0o600)
  expect(readdirSync(join(desk.home, 'backups'))).toEqual([])
  await desk.swarm(['stop'])

  const merged: number[] = []
  for (const file of backups) {
    const home = mkdtempSync(join(desk.folder, 'restored-'))
    const restored = await desk.swarm(['restore', file, '--json'], { SWARM_HOME: home })
    expect(restored, restored.stderr).toMatchObject({ code: 0, json: { home, aside: null, repositories: 1 } })
    merged.push(await consistent(home))
    expect(statSync(join(home, 'admin-token')).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(home, 'admin-token'), 'utf8')).toBe(readFileSync(join(desk.home, 'admin-token'), 'utf8'))
  }
  expect(merged.at(0)).toBeLessThan(3)
  expect(merged).toEqual([...merged].sort((a, b) => a - b))

  // The first one was taken in the middle of the agents' work.
  const home = join(desk.folder, 'elsewhere')
  expect(await desk.swarm(['restore', backups[0] ?? '', '--json'], { SWARM_HOME: home })).toMatchObject({ code: 0 })
  expect(await desk.swarm(['start', '--port', '0', '--rehearsal', 'script.yml', '--json'], { SWARM_HOME: home })).toMatchObject({ code: 0 })
  try {
    const again = await desk.swarm(RUN, { SWARM_HOME: home })
    expect(again.code, again.stderr).toBe(0)
    expect(again.stderr).toMatch(/going on with SES-/)
    expect(again.json).toMatchObject({ merged: 3, mainGreen: true, tickets: KEYS.map(() => ({ state: 'done', changes: 1 })) })
    expect(await consistent(home)).toBe(3)
  } finally {
    await desk.swarm(['stop'], { SWARM_HOME: home })
  }
})

/** Every commit that the database names is there, and main is one that it knows. @returns how many changes it has merged */
async function consistent(home: string): Promise<number> {
  const column = (sql: string): string[] => columnOf(join(home, 'swarm.sqlite'), sql)
  const [project = ''] = readdirSync(join(home, 'repositories'))
  const [name = ''] = readdirSync(join(home, 'repositories', project))
  const path = join(home, 'repositories', project, name)
  const named = column('select head_sha from attempts union select wip_sha from attempts union select start_sha from attempts union select head_sha from changes union select merged_sha from changes union select commit_sha from check_runs union select candidate_sha from merge_entries')
  for (const sha of named.filter((each) => each !== 'null' && each !== '')) await git(path, ['cat-file', '-e', `${sha}^{commit}`])
  const main = (await git(path, ['rev-parse', 'refs/heads/main'])).stdout.trim()
  const known = column('select merged_sha from changes where merged_sha is not null union select candidate_sha from merge_entries where candidate_sha is not null union select base_sha from design_sessions')
  expect(known).toContain(main)
  const merged = column('select merged_sha from changes where merged_sha is not null')
  for (const sha of merged) expect((await git(path, ['merge-base', '--is-ancestor', sha, main], { okCodes: [0, 1] })).code, `${sha} is in main`).toBe(0)
  expect((await git(path, ['reflog', 'show', '--format=%H', 'refs/heads/main'])).stdout.split('\n')[0]).toBe(main)
  return merged.length
}

test('what cannot be restored is refused before anything changes; with --force what was there is kept aside, and uninstall --data leaves nothing', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  const start = ['start', '--port', '0', '--no-runner', '--json']
  for (const line of [['retention', 'run', '--dry-run'], ['retention', 'run']]) expect(await desk.swarm([...line, '--json'])).toMatchObject({ code: 3, json: { error: { code: 'database_missing' } } })
  expect(await desk.swarm(['backup', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'nothing_to_back_up' } } })
  expect(await desk.swarm(start)).toMatchObject({ code: 0 })
  const made = await desk.swarm(['backup', '--json'])
  expect(made, made.stderr).toMatchObject({ code: 0 })
  const file = String(made.json['file'])
  expect(await desk.swarm(['backup', file, '--json'])).toMatchObject({ code: 2, json: { error: { code: 'backup_exists' } } })
  for (const nowhere of ['unmounted', 'unmounted/', 'unmounted/today.tar.gz']) expect(await desk.swarm(['backup', nowhere, '--json'])).toMatchObject({ code: 2, json: { error: { code: 'backup_folder_missing' } } })
  expect(await desk.swarm(['check', '--model-log', 'no.jsonl', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'invalid_input', message: expect.stringContaining('no.jsonl') as string } } })
  expect(await desk.swarm(['restore', file, '--force', '--json'])).toMatchObject({ code: 3, json: { error: { code: 'already_running' } } })
  expect(await desk.swarm(['stop', '--json'])).toMatchObject({ code: 0 })
  expect(await desk.swarm(['restore', file, '--json'])).toMatchObject({ code: 2, json: { error: { code: 'home_not_empty' } } })
  expect(await desk.swarm(['backup', '--json'], { SWARM_DATABASE_URL: 'postgres://u@127.0.0.1:1/x' })).toMatchObject({ json: { error: { code: 'backup_unsupported', remedy: expect.stringContaining('pg_dump') as string } } })

  const repacked = async (name: string, change: (folder: string) => void): Promise<string> => {
    const folder = mkdtempSync(join(desk.folder, 'open-'))
    await tar(['-xzf', file, '-C', folder])
    change(folder)
    await tar(['-czf', join(desk.folder, name), '-C', folder, 'manifest.json', 'data'])
    return join(desk.folder, name)
  }
  const elsewhere = { SWARM_HOME: join(desk.folder, 'elsewhere') }
  const refused = async (path: string, code: string, words: RegExp): Promise<void> => {
    expect(await desk.swarm(['restore', path, '--json'], elsewhere)).toMatchObject({ json: { error: { code, message: expect.stringMatching(words) as string } } })
    expect(readdirSync(elsewhere.SWARM_HOME).filter((name) => name !== 'run')).toEqual([])
  }
  const token = (folder: string): string => join(folder, 'data', 'admin-token')
  await refused(await repacked('altered.tar.gz', (folder) => { writeFileSync(token(folder), readFileSync(token(folder), 'utf8').replace(/.$/m, '!')) }), 'backup_invalid', /admin-token is not what was backed up/)
  await refused(await repacked('more.tar.gz', (folder) => { writeFileSync(join(folder, 'data', 'more'), 'x') }), 'backup_invalid', /more, which its manifest does not name/)
  const cut = join(desk.folder, 'cut.tar.gz')
  writeFileSync(cut, readFileSync(file).subarray(0, 2_000))
  await refused(cut, 'backup_invalid', /./)
  await refused(join(desk.folder, 'none.tar.gz'), 'backup_invalid', /there is no such file/)

  // A database alone, as it is kept before a migration.
  const kept = join(desk.folder, 'before.sqlite')
  alterDatabase(join(desk.home, 'swarm.sqlite'), `vacuum into '${kept}'`)
  const newer = join(desk.folder, 'newer.sqlite')
  writeFileSync(newer, readFileSync(kept))
  alterDatabase(newer, 'insert into kysely_migration (name, timestamp) values (\'9999-future\', \'2030\')')
  await refused(newer, 'database_newer', /9999-future/)
  const alone = await desk.swarm(['restore', kept, '--force', '--json'])
  expect(alone, alone.stderr).toMatchObject({ code: 0, json: { repositories: null } })
  expect(readdirSync(String(alone.json['aside']))).toContain('swarm.sqlite')
  expect(existsSync(join(desk.home, 'admin-token'))).toBe(true)

  mkdirSync(join(desk.home, 'blobs', 'ab'), { recursive: true })
  writeFileSync(join(desk.home, 'blobs', 'ab', 'mine'), 'x')
  const forced = await desk.swarm(['restore', file, '--force', '--json'])
  expect(forced, forced.stderr).toMatchObject({ code: 0 })
  expect(readFileSync(join(String(forced.json['aside']), 'blobs', 'ab', 'mine'), 'utf8')).toBe('x')
  expect(existsSync(join(desk.home, 'blobs', 'ab', 'mine'))).toBe(false)
  expect(await desk.swarm(start)).toMatchObject({ code: 0 })
  expect(await desk.swarm(['status', '--json'])).toMatchObject({ code: 0, json: { running: true } })

  expect(await desk.swarm(['stop', '--json'])).toMatchObject({ code: 0 })
  expect(existsSync(join(desk.home, 'keys', 'evidence.ed25519'))).toBe(true)
  expect(await desk.swarm(['uninstall', '--data', '--yes', '--json'], { SWARM_CACHE: join(desk.folder, 'no-cache') })).toMatchObject({ code: 0 })
  expect(existsSync(desk.home) ? readdirSync(desk.home) : []).toEqual([])
})

async function tar(args: readonly string[]): Promise<void> {
  const [code] = await once(spawn('tar', args, { stdio: 'inherit' }), 'close') as [number]
  expect(code).toBe(0)
}
