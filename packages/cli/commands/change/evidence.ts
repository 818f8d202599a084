import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { listEvidenceKeys, showEvidence, showEvidenceBlob } from '@swarm/contract/endpoints/evidence.ts'
import { blobsOf, EvidenceStatement } from '@swarm/contract/evidence.ts'
import { readEnvelope } from '@swarm/contract/evidence-envelope.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { userPath } from '../../config.ts'
import { UserError } from '../../errors.ts'
import { BLOBS_FOLDER, BUNDLE_FILE, KEYS_FOLDER } from '../../evidence/source.ts'
import { connect } from '../../platform/connect.ts'
import { patiently } from '../../platform/patiently.ts'

export const changeEvidence = command({
  name: 'change evidence',
  summary: 'Writes the signed evidence of a merged change to a file',
  description: 'A DSSE envelope around an in-toto statement (docs/evidence.md), which "swarm verify" checks anywhere. With\n--with-blobs a folder: the bundle, every content that it names (conversations, outputs of checks, plans) and\nthe public key. It holds what agents and models said: mind who gets it.',
  examples: [['swarm change evidence CHG-7Q2M9XKD --out evidence.json', 'the bundle alone'], ['swarm change evidence CHG-7Q2M9XKD --out evidence --with-blobs', 'a folder with all that it names']],
  arguments: [{ name: 'id', description: 'the change, or its ticket' }],
  options: [{ flags: '--out <path>', description: 'where to write; nothing that exists is replaced' }, { flags: '--with-blobs', description: 'a folder with the contents too' }],
  input: z.object({ id: z.string(), out: z.string({ error: 'say where to write' }).min(1), withBlobs: z.boolean().default(false) }),
  async run({ id, out, withBlobs }, { settings, signal, io }) {
    const path = userPath(out)
    if (existsSync(path)) throw new UserError('file_exists', `${path} exists already.`, 'Name another path with --out.')
    const { client } = connect(settings().config)
    const { changeId, bundle, digest } = await client.call(showEvidence, { params: { changeId: id } }, { signal })
    const { envelope, signature } = readEnvelope(Buffer.from(bundle))
    if (!withBlobs) {
      writeFileSync(path, bundle, { flag: 'wx' })
      return { json: { changeId, digest, keyId: signature.keyid, path, blobs: 0, missing: [] }, text: `${path}: evidence of ${changeId}, signed by ${signature.keyid}` }
    }
    const statement = EvidenceStatement.parse(JSON.parse(Buffer.from(envelope.payload, 'base64').toString('utf8')))
    for (const folder of [BLOBS_FOLDER, KEYS_FOLDER]) mkdirSync(join(path, folder), { recursive: true })
    const missing: string[] = []
    const named = blobsOf(statement)
    for (const blob of named) {
      const content = await patiently(() => client.call(showEvidenceBlob, { params: { changeId, digest: blob } }, { signal }), signal).catch((error: unknown) => {
        if (error instanceof ApiError && error.code === 'blob_not_found') return null
        throw error
      })
      if (content === null) missing.push(blob)
      else writeFileSync(join(path, BLOBS_FOLDER, blob.slice('sha256:'.length)), Buffer.from(content.content, 'base64'), { flag: 'wx' })
    }
    const key = (await client.call(listEvidenceKeys, {}, { signal })).items.find((each) => each.id === signature.keyid)
    if (key) writeFileSync(join(path, KEYS_FOLDER, `${key.id}.pem`), key.publicKey, { flag: 'wx' })
    writeFileSync(join(path, BUNDLE_FILE), bundle, { flag: 'wx' })
    if (missing.length > 0) io.say(`${missing.length} of ${named.length} contents are no longer kept; "swarm verify" needs --allow-missing-blobs for this export`)
    return { json: { changeId, digest, keyId: signature.keyid, path, blobs: named.length - missing.length, missing }, text: `${path}: evidence of ${changeId} with ${named.length - missing.length} contents, signed by ${signature.keyid}` }
  },
})
