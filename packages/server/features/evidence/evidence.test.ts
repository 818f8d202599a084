import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { blobsOf, type DsseEnvelope, type EvidenceStatement } from '@swarm/contract/evidence.ts'
import { openBundle, readPublicKey, sealStatement, writeEnvelope } from '@swarm/contract/evidence-envelope.ts'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { eachDialect, sqlitePlace } from '../../db/testing.ts'
import { ensureSigningKey } from './keys.ts'
import { evidenceOver } from './testing.ts'

const never = new AbortController().signal

function keysOf(home: string): Map<string, KeyObject> {
  const folder = join(home, 'keys', 'evidence')
  return new Map(readdirSync(folder).map((name) => [name.slice(0, -4), readPublicKey(readFileSync(join(folder, name), 'utf8'), name)]))
}

eachDialect((_dialect, make) => {
  test('a merged change gets one signed bundle that says what was merged, checked, answered and approved', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await evidenceOver(db, place.home)
    const change = await world.merged('alpha')
    const duty = await world.make()
    expect(await duty.run(never)).toBe(true)
    expect(await duty.run(never)).toBe(false)
    const [row, ...more] = await world.rows()
    expect(more).toEqual([])
    expect(await world.sealedEvents()).toMatchObject([{ subject_id: change }])
    const bundle = await world.blobs.get(row?.digest ?? '')
    expect(readFileSync(join(place.home, 'evidence', `${change}.json`))).toEqual(bundle)

    const { statement, keyId } = openBundle(bundle, keysOf(place.home))
    expect(keyId).toBe(row?.key_id)
    const main = await world.path.main()
    expect(statement.subject[0].digest.gitCommit).toBe(main)
    expect(statement.predicate).toMatchObject({
      change: { id: change }, commits: { merged: main, tree: statement.subject[1].digest.gitTree },
      attempts: [{ state: 'succeeded', agent: { name: 'developer', version: 1 } }],
      model: { rehearsal: true, calls: 2, costMicroUsd: 80, models: ['claude-test'] },
      approvals: [{ kind: 'merge', status: 'approved', byYesFlag: true, decidedBy: 'admin admin (--yes)' }],
      reviews: [{ kind: 'person', reviewer: 'admin admin', verdict: 'approve', counts: true, approvalId: statement.predicate.approvals[0]?.id, headSha: statement.predicate.commits.head, comments: [] }],
    })
    expect(statement.predicate.checks.flatMap(({ results }) => results.map(({ name, exitCode }) => [name, exitCode]))).toContainEqual(['test', 0])
    for (const digest of blobsOf(statement)) expect(await world.blobs.has(digest), digest).toBe(true)
  })

  test('two replicas that seal at the same time leave one bundle and one event, and only the recorded one as a file', async () => {
    await using place = await make()
    await using other = await sqlitePlace()
    await using db = await place.open()
    const world = await evidenceOver(db, place.home)
    const change = await world.merged('alpha')
    const duties = [await world.make(), await world.make({ home: other.home })]
    await Promise.all(duties.map((duty) => duty.run(never)))
    const rows = await world.rows()
    expect(rows).toHaveLength(1)
    expect(await world.sealedEvents()).toHaveLength(1)
    const bundle = await world.blobs.get(rows[0]?.digest ?? '')
    // Both keys are on record, so that either home verifies it.
    expect((await db.read.selectFrom('evidence_keys').select('id').execute()).map(({ id }) => id)).toContain(rows[0]?.key_id)
    const files = [place.home, other.home].flatMap((home) => readdirSync(home).includes('evidence') ? readdirSync(join(home, 'evidence')).map((name) => readFileSync(join(home, 'evidence', name))) : [])
    expect(files).toEqual([bundle])
    expect(change).toMatch(/^CHG-/)
  })

  test('a stop at any write of a blob is taken up again, with one bundle in the end', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await evidenceOver(db, place.home)
    await world.merged('alpha')
    for (let stopAt = 1; ; stopAt++) {
      let writes = 0
      const failing = { ...world.blobs, put: async (content: Parameters<typeof world.blobs.put>[0]) => {
        if (++writes === stopAt) throw new Error('stopped here')
        return await world.blobs.put(content)
      } }
      const duty = await world.make({ blobs: failing })
      const stopped = await duty.run(never).then(() => false, () => true)
      if (!stopped) break
      expect(await world.rows()).toEqual([])
    }
    expect(await world.rows()).toHaveLength(1)
    expect(await world.sealedEvents()).toHaveLength(1)
  })

  test('a change whose ticket has a model call under way waits until that is settled; others do not wait for it', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await evidenceOver(db, place.home)
    const [first, second] = [await world.merged('alpha'), await world.merged('beta')]
    const ticket = (await db.read.selectFrom('changes').select('ticket_id').where('id', '=', first).executeTakeFirstOrThrow()).ticket_id
    const attempt = (await db.read.selectFrom('attempts').select('id').where('ticket_id', '=', ticket).executeTakeFirstOrThrow()).id
    const open = await world.call({ attempt, ticket, turn: 3, state: 'open' })
    const duty = await world.make()
    await duty.run(never)
    expect((await world.rows()).map(({ change_id }) => change_id)).toEqual([second])
    await db.write(async (trx) => { await trx.updateTable('model_calls').set({ state: 'settled', cost_micro_usd: 7 }).where('id', '=', open).execute() })
    await duty.run(never)
    expect((await world.rows()).map(({ change_id }) => change_id).sort()).toEqual([first, second].sort())
  })
})

test('the key is made once, readable by nobody else, and a new one keeps the old public key, so that old bundles verify', async () => {
  await using place = await sqlitePlace()
  await using db = await place.open()
  const path = join(place.home, 'keys', 'evidence.ed25519')
  const [one, same] = [await ensureSigningKey(db, place.home, 1), await ensureSigningKey(db, place.home, 2)]
  expect(same.id).toBe(one.id)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(JSON.stringify(one) + String(one.key)).not.toContain('PRIVATE')
  rmSync(path)
  const two = await ensureSigningKey(db, place.home, 3)
  expect(two.id).not.toBe(one.id)
  expect([...keysOf(place.home).keys()].sort()).toEqual([one.id, two.id].sort())
  writeFileSync(path, 'not a key')
  await expect(ensureSigningKey(db, place.home, 4)).rejects.toMatchObject({ code: 'evidence_key_invalid' })
  writeFileSync(path, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }))
  await expect(ensureSigningKey(db, place.home, 4)).rejects.toMatchObject({ code: 'evidence_key_invalid' })
})

/** A real bundle, the statement in it, and what it takes to verify and to forge it. */
async function sealed(): Promise<{ bundle: Buffer; statement: EvidenceStatement; keys: Map<string, KeyObject>; signer: KeyObject }> {
  await using place = await sqlitePlace()
  await using db = await place.open()
  const world = await evidenceOver(db, place.home)
  await world.merged('alpha')
  await (await world.make()).run(never)
  const bundle = await world.blobs.get((await world.rows())[0]?.digest ?? '')
  const keys = keysOf(place.home)
  return { bundle, keys, statement: openBundle(bundle, keys).statement, signer: (await ensureSigningKey(db, place.home, 1)).key }
}
/** The code of the refusal; a bundle that opens is none. */
function refusal(bytes: Uint8Array, keys: Map<string, KeyObject>): unknown {
  try {
    openBundle(bytes, keys)
    return 'accepted'
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error
  }
}
const REFUSALS = ['evidence_invalid', 'evidence_key_unknown']

test('every altered byte of a bundle is noticed, and so is every cut and every addition', { timeout: 120_000 }, async () => {
  const { bundle, keys } = await sealed()
  for (let at = 0; at < bundle.length; at++) {
    const altered = Buffer.from(bundle)
    altered[at] = altered[at]! ^ (1 << at % 8)
    expect(REFUSALS, `byte ${at}`).toContain(refusal(altered, keys))
  }
  fc.assert(fc.property(fc.nat(bundle.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
    const altered = Buffer.from(bundle)
    altered[at] = altered[at]! ^ by
    expect(REFUSALS).toContain(refusal(altered, keys))
  }), { numRuns: 2_000 })
  fc.assert(fc.property(fc.nat(bundle.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), (at, more) => {
    expect(refusal(bundle.subarray(0, at), keys)).toBe('evidence_invalid')
    expect(REFUSALS).toContain(refusal(Buffer.concat([bundle.subarray(0, at), more, bundle.subarray(at)]), keys))
  }), { numRuns: 500 })
})

test('what was signed by another key, twice, for another type or in another spelling is refused', async () => {
  const { bundle, keys, statement, signer } = await sealed()
  const envelope = JSON.parse(bundle.toString('utf8')) as DsseEnvelope
  const stranger = generateKeyPairSync('ed25519').privateKey
  expect(refusal(Buffer.from(sealStatement(statement, stranger)), keys)).toBe('evidence_key_unknown')
  // The same, under the name of a key that is trusted.
  const forged = JSON.parse(sealStatement(statement, stranger)) as DsseEnvelope
  const write = (changed: unknown): Buffer => Buffer.from(writeEnvelope(changed as DsseEnvelope))
  expect(refusal(write({ ...forged, signatures: [{ ...forged.signatures[0], keyid: envelope.signatures[0]?.keyid }] }), keys)).toBe('evidence_invalid')
  expect(refusal(write({ ...envelope, payloadType: 'application/json' }), keys)).toBe('evidence_invalid')
  expect(refusal(write({ ...envelope, signatures: [...envelope.signatures, ...envelope.signatures] }), keys)).toBe('evidence_invalid')
  expect(refusal(write({ ...envelope, signatures: [] }), keys)).toBe('evidence_invalid')
  expect(refusal(write({ ...envelope, note: 'x' }), keys)).toBe('evidence_invalid')
  expect(refusal(Buffer.from(JSON.stringify({ signatures: envelope.signatures, payloadType: envelope.payloadType, payload: envelope.payload })), keys)).toBe('evidence_invalid')
  for (const strange of ['', 'null', '[]', 'no json', '{}', '\ufeff{}']) expect(refusal(Buffer.from(strange), keys), strange).toBe('evidence_invalid')
  expect(refusal(Buffer.from(sealStatement(statement, signer)), keys)).toBe('accepted')
})

test('a statement that contradicts itself is refused, even when it is signed rightly', async () => {
  const { keys, statement, signer } = await sealed()
  const { predicate } = statement
  const [exchange, ...others] = predicate.model.exchanges
  const told = (changed: Partial<EvidenceStatement['predicate']>): unknown => refusal(Buffer.from(sealStatement({ ...statement, predicate: { ...predicate, ...changed } }, signer)), keys)
  expect(told({})).toBe('accepted')
  expect(told({ commits: { ...predicate.commits, merged: 'a'.repeat(40) } })).toBe('evidence_invalid')
  expect(told({ commits: { ...predicate.commits, tree: 'a'.repeat(40) } })).toBe('evidence_invalid')
  expect(told({ commits: { ...predicate.commits, head: 'a'.repeat(40) } })).toBe('evidence_invalid')
  expect(told({ model: { ...predicate.model, rehearsal: false } })).toBe('evidence_invalid')
  expect(told({ model: { ...predicate.model, exchanges: [...others, exchange!] } })).toBe('evidence_invalid')
  expect(told({ model: { ...predicate.model, exchanges: others, calls: others.length, costMicroUsd: 40 } })).toBe('evidence_invalid')
  expect(told({ approvals: [] })).toBe('evidence_invalid')
  const { reviews = [] } = predicate
  expect(reviews).toHaveLength(1)
  expect(told({ reviews: reviews.map((each) => ({ ...each, verdict: 'comment' })) })).toBe('evidence_invalid')
  expect(told({ reviews: reviews.map((each) => ({ ...each, kind: 'agent' as const })) })).toBe('evidence_invalid')
  // Sealed before there were reviews.
  expect(told({ reviews: undefined })).toBe('accepted')
  expect(told({ approvals: predicate.approvals.map((each) => ({ ...each, payload: { headSha: predicate.commits.head } })) })).toBe('evidence_invalid')
  expect(told({ checks: predicate.checks.map((each) => ({ ...each, results: each.results.map((result) => ({ ...result, exitCode: 1 })) })) })).toBe('evidence_invalid')
  expect(told({ checks: [] })).toBe('evidence_invalid')
  expect(told({ attempts: [] })).toBe('evidence_invalid')
})

test('a private key is refused where a public one belongs', () => {
  const pair = generateKeyPairSync('ed25519')
  expect(() => readPublicKey(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 'k')).toThrow('private key')
  expect(() => readPublicKey('x', 'k')).toThrow('no public key')
})
