import type { EvidenceStatement } from '@swarm/contract/evidence.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { paragraph, reportOf } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { checkBlobs, checkRepository, openTrusted, type BlobReport, type RepositoryReport } from '../evidence/check.ts'
import { openSource, trustedKeys, type TrustedKey } from '../evidence/source.ts'
import { money, time } from '../io.ts'

/** Verdicts about the evidence: exit code 1. Everything else is about the command. */
const VERDICTS: readonly string[] = ['evidence_invalid', 'evidence_key_unknown', 'evidence_blob_missing']

export const verify = command({
  name: 'verify',
  summary: 'Checks the signed evidence of a merged change',
  description: 'A change is read from the platform, or from its home folder when nothing runs; a file or folder that was\nexported is checked without either. The signature must be by a key that is trusted: that of --key, or one of\nthe home folder. What only came with the evidence is not. Exit code 0: valid; 1: not valid, or by an unknown\nkey; 2: misuse.',
  examples: [
    ['swarm verify CHG-7Q2M9XKD', 'with the contents that are kept'],
    ['swarm verify evidence.json --key swarm.pem --repository .', 'elsewhere, with the public key and a clone'],
  ],
  arguments: [{ name: 'target', description: 'a change, or what "swarm change evidence" wrote' }],
  options: [
    { flags: '--key <file>', description: 'the public key (PEM) that must have signed it; else the keys of the home folder' },
    { flags: '--repository <path>', description: 'also look whether this repository has these commits and trees, and main contains the merge' },
    { flags: '--allow-missing-blobs', description: 'contents that retention has removed are no fault' },
  ],
  input: z.object({ target: z.string().min(1), key: z.string().optional(), repository: z.string().optional(), allowMissingBlobs: z.boolean().default(false) }),
  async run({ target, key: keyFile, repository, allowMissingBlobs }, { settings, signal }) {
    const config = () => settings().config
    const trusted = await trustedKeys(keyFile, config, signal)
    try {
      const source = await openSource(target, config, signal)
      const { statement, keyId, key } = openTrusted(source, trusted)
      const blobs = checkBlobs(statement, source, allowMissingBlobs)
      const found = repository === undefined ? null : await checkRepository(statement, userPath(repository), signal)
      const { change, ticket, commits, model } = statement.predicate
      return {
        json: {
          valid: true, changeId: change.id, ticketId: ticket.id, keyId, keySource: key.source, trusted: key.trusted, mergedSha: commits.merged, treeSha: commits.tree,
          rehearsal: model.rehearsal, blobs, repository: found, predicate: statement.predicate,
        },
        text: describe(statement, { keyId, key, blobs, found }),
      }
    } catch (error) {
      if (!(error instanceof DomainError) || !VERDICTS.includes(error.code)) throw error
      const report = reportOf(error)
      return { json: { valid: false, error: { code: report.code, message: report.message, remedy: report.remedy } }, text: `NOT VALID  ${paragraph(report)}`, exitCode: EXIT.failed }
    }
  },
})

function describe({ predicate }: EvidenceStatement, by: { keyId: string; key: TrustedKey; blobs: BlobReport | null; found: RepositoryReport | null }): string {
  const { change, commits, checks, model, approvals, attempts, vms, ticket } = predicate
  const proof = checks.find(({ id }) => id === commits.proof?.checkId)
  const used = approvals.filter(({ kind, usedAt }) => kind === 'merge' && usedAt !== null)
  const images = [...new Set(vms.map(({ imageDigest, driver }) => imageDigest?.slice(0, 12) ?? `none (driver ${driver})`))]
  const lines: [string, string][] = [
    ['change', `${change.id}  ${change.title}  (ticket ${ticket.id})`],
    ['merged', `${commits.merged} at ${time(change.mergedAt)}, tree ${commits.tree}`],
    ['checks', proof === undefined ? 'NO RUN is on record for the merged tree; its head passed' : `${proof.id} on ${proof.commit.slice(0, 12)}: ${proof.results.map(({ name, exitCode }) => `${name} ${exitCode ?? 'signal'}`).join(', ') || 'THE REPOSITORY HAS NO CHECKS'}`],
    ['attempts', attempts.map(({ id, state, agent }) => `${id} ${state} (${agent.name} v${agent.version})`).join(', ')],
    ['images', images.join(', ') || 'none'],
    ['model', `${model.rehearsal ? 'REHEARSAL: a script answered, no model. ' : ''}${model.calls} calls, ${model.models.join(', ') || 'none'}, ${money(model.costMicroUsd)}`],
    ['approved', used.map(({ id, decidedBy, decidedAt }) => `${id} by ${decidedBy ?? '?'} at ${time(decidedAt)}`).join(', ')],
    ['signed', `by ${by.keyId}, trusted as a key of ${by.key.source}`],
    ['contents', by.blobs === null ? 'not given: their digests were not compared' : `${by.blobs.checked} of ${by.blobs.named} compared${by.blobs.missing.length > 0 ? `, ${by.blobs.missing.length} MISSING` : ''}`],
    ...by.found === null ? [] : [['commits', `in ${by.found.path}; ${by.found.main} contains the merge${by.found.absent.length > 0 ? `; not there: ${by.found.absent.map((sha) => sha.slice(0, 12)).join(', ')}` : ''}`] as [string, string]],
  ]
  return [`VALID${model.rehearsal ? '  (REHEARSAL)' : ''}`, ...lines.map(([name, value]) => `  ${name.padEnd(9)} ${value}`)].join('\n')
}
