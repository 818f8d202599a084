import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateKeyPairSync } from 'node:crypto'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { makeDesk, script, SHOP, SPEC } from './testing.ts'

const RUN_MS = 240_000

test('the evidence of a merged change is exported and verified with the platform, without it, and elsewhere; whatever was altered is found', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  await using elsewhere = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script())
  await desk.repository('shop', SHOP)
  expect(await desk.swarm(['start', '--port', '0', '--rehearsal', 'script.yml', '--json'])).toMatchObject({ code: 0 })
  const ran = await desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--yes', '--json'])
  expect(ran.code, ran.stderr).toBe(0)
  const ticket = (ran.json['tickets'] as { id: string }[])[0]?.id ?? ''
  const repository = String(ran.json['repository'])

  // From the running platform, by the ticket; sealing follows the merge.
  const asked = async (): ReturnType<typeof desk.swarm> => {
    for (;;) {
      const answer = await desk.swarm(['verify', ticket, '--repository', repository, '--json'])
      if ((answer.json as { error?: { code: string } }).error?.code !== 'evidence_pending') return answer
    }
  }
  const live = await asked()
  expect(live, live.stderr).toMatchObject({
    code: 0, json: { valid: true, ticketId: ticket, trusted: true, mergedSha: ran.json['head'], rehearsal: true, repository: { main: 'refs/heads/main', absent: [] }, blobs: { missing: [] } },
  })
  const change = String(live.json['changeId'])
  expect((live.json['blobs'] as { checked: number }).checked).toBeGreaterThan(5)
  expect((await desk.swarm(['verify', change])).stdout).toMatch(/^VALID {2}\(REHEARSAL\)[\s\S]*REHEARSAL: a script answered, no model\.[\s\S]*approved .*\(--yes\)/)
  expect(await desk.swarm(['change', 'evidence', change, '--out', 'bundle.json', '--json'])).toMatchObject({ code: 0, json: { changeId: change } })
  expect(await desk.swarm(['change', 'evidence', change, '--out', 'bundle.json', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'file_exists' } } })
  expect(await desk.swarm(['change', 'evidence', ticket, '--out', 'export', '--with-blobs', '--json'])).toMatchObject({ code: 0, json: { missing: [] } })
  desk.write('key.pem', (await desk.swarm(['evidence', 'keys'])).stdout)
  await desk.swarm(['stop'])

  // From the home folder that nothing runs on.
  expect(await desk.swarm(['verify', change, '--json'])).toMatchObject({ code: 0, json: { valid: true, keySource: desk.home, blobs: { missing: [] } } })
  expect(await desk.swarm(['verify', 'bundle.json', '--json'])).toMatchObject({ code: 0, json: { valid: true, blobs: null } })

  // On another machine: a key that came with the export is no reason to trust it.
  const [bundle, folder, key] = [join(desk.folder, 'bundle.json'), join(desk.folder, 'export'), join(desk.folder, 'key.pem')]
  const verify = async (target: string, ...more: string[]) => await elsewhere.swarm(['verify', target, ...more, '--json'])
  const verdict = (code: string, words?: string) => ({ code: 1, json: { valid: false, error: { code, ...words === undefined ? {} : { message: expect.stringContaining(words) as string } } } })
  expect(await verify(bundle)).toMatchObject(verdict('evidence_key_unknown'))
  expect(await verify(folder)).toMatchObject(verdict('evidence_key_unknown'))
  expect(await verify(folder, '--key', key)).toMatchObject({ code: 0, json: { valid: true, keySource: key, blobs: { missing: [] } } })
  expect(await verify(change)).toMatchObject({ code: 3, json: { error: { code: 'not_running' } } })
  expect(await verify('nothing.json')).toMatchObject({ code: 2, json: { error: { code: 'no_such_file' } } })
  const stranger = elsewhere.write('stranger.pem', generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString())
  expect(await verify(bundle, '--key', stranger)).toMatchObject(verdict('evidence_key_unknown'))
  expect(await verify(bundle, '--key', elsewhere.write('not-a-key.pem', 'x'))).toMatchObject({ code: 2, json: { error: { code: 'evidence_key_invalid' } } })

  // A clone bears it out, too; another repository does not, nor one whose main went back.
  await git(desk.folder, ['clone', '--quiet', repository, 'clone'])
  const clone = join(desk.folder, 'clone')
  expect(await verify(bundle, '--key', key, '--repository', clone)).toMatchObject({ code: 0, json: { repository: { main: 'refs/heads/main' } } })
  expect(await verify(bundle, '--key', key, '--repository', join(desk.folder, 'shop'))).toMatchObject(verdict('evidence_invalid', 'the repository has no commit'))
  await git(clone, ['update-ref', 'refs/heads/main', 'main~1'])
  await git(clone, ['update-ref', 'refs/remotes/origin/main', 'main'])
  expect(await verify(bundle, '--key', key, '--repository', clone)).toMatchObject(verdict('evidence_invalid', 'main does not contain'))

  // Altered, cut, swapped, added and removed contents; and a bundle that is none.
  const copy = (name: string): string => {
    cpSync(folder, join(elsewhere.folder, name), { recursive: true })
    return join(elsewhere.folder, name)
  }
  const blobs = readdirSync(join(folder, 'blobs')).filter((name) => readFileSync(join(folder, 'blobs', name)).length > 2)
  const altered = copy('altered')
  const content = readFileSync(join(altered, 'blobs', blobs[0]!))
  content[content.length >> 1]! ^= 1
  writeFileSync(join(altered, 'blobs', blobs[0]!), content)
  expect(await verify(altered, '--key', key)).toMatchObject(verdict('evidence_invalid', blobs[0]))
  const cut = copy('cut')
  truncateSync(join(cut, 'blobs', blobs[1]!), 1)
  expect(await verify(cut, '--key', key)).toMatchObject(verdict('evidence_invalid', blobs[1]))
  const swapped = copy('swapped')
  renameSync(join(swapped, 'blobs', blobs[0]!), join(swapped, 'x'))
  renameSync(join(swapped, 'blobs', blobs[1]!), join(swapped, 'blobs', blobs[0]!))
  renameSync(join(swapped, 'x'), join(swapped, 'blobs', blobs[1]!))
  expect(await verify(swapped, '--key', key)).toMatchObject(verdict('evidence_invalid', 'was altered'))
  const more = copy('more')
  writeFileSync(join(more, 'blobs', 'a'.repeat(64)), 'x')
  expect(await verify(more, '--key', key)).toMatchObject(verdict('evidence_invalid', 'none of them'))
  const less = copy('less')
  rmSync(join(less, 'blobs', blobs[0]!))
  expect(await verify(less, '--key', key)).toMatchObject(verdict('evidence_blob_missing', blobs[0]))
  expect(await verify(less, '--key', key, '--allow-missing-blobs')).toMatchObject({ code: 0, json: { blobs: { missing: [`sha256:${blobs[0]}`] } } })
  truncateSync(join(less, 'bundle.json'), 500)
  expect(await verify(less, '--key', key)).toMatchObject(verdict('evidence_invalid', 'cut short'))
  expect(await verify(elsewhere.write('text.json', 'hello\n'), '--key', key)).toMatchObject(verdict('evidence_invalid', 'no JSON'))
  const huge = elsewhere.write('huge.json', '{}')
  truncateSync(huge, 5_000_000_000)
  expect(await verify(huge, '--key', key)).toMatchObject(verdict('evidence_invalid', '5000000000 bytes'))
  mkdirSync(join(elsewhere.folder, 'empty'))
  expect(await verify(join(elsewhere.folder, 'empty'), '--key', key)).toMatchObject({ code: 2, json: { error: { code: 'no_such_file' } } })
})
