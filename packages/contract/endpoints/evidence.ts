import { z } from 'zod'
import { endpoint, inParams } from '../endpoint.ts'
import { BlobDigest } from '../evidence.ts'
import { Time } from './shared.ts'

const ById = z.object({ changeId: z.string() })

export const showEvidence = endpoint({
  method: 'GET', path: '/api/changes/:changeId/evidence', access: ['person'], action: 'change:read', on: inParams('change', 'changeId'), tag: 'changes', summary: 'The signed evidence of a merged change; by its id or its ticket\'s',
  params: ById,
  response: z.object({
    changeId: z.string(), digest: BlobDigest,
    /** The file as it was sealed: a DSSE envelope in canonical JSON (contract/evidence.ts). Text, since every byte of it counts. */
    bundle: z.string(),
  }),
})
export const showEvidenceBlob = endpoint({
  method: 'GET', path: '/api/changes/:changeId/evidence/blobs/:digest', access: ['person'], action: 'change:read', on: inParams('change', 'changeId'), tag: 'changes', summary: 'One of the contents that the evidence of a change names by its digest',
  params: ById.extend({ digest: BlobDigest }), response: z.object({ digest: BlobDigest, /** Base64. */ content: z.string() }),
})
export const listEvidenceKeys = endpoint({
  method: 'GET', path: '/api/system/evidence-keys', access: ['person'], action: 'system:read', on: 'installation', tag: 'system', summary: 'The public keys that ever signed evidence here, oldest first',
  response: z.object({ items: z.array(z.object({ /** SHA-256 (hex) of the key as SPKI DER. */ id: z.string(), /** PEM. */ publicKey: z.string(), /** Whether it signs now. */ current: z.boolean(), createdAt: Time })) }),
})
