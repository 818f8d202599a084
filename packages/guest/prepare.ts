import { spawn } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import type { MuxStream } from '@swarm/contract/channel.ts'
import { GUEST_AUTHORITY_FILE, GUEST_TRUST_FILE, PrepareAcknowledgement, type ClockHeader, type PrepareHeader } from '@swarm/contract/guest-protocol.ts'

const PIDS_MAX = '/sys/fs/cgroup/supervised/pids.max'

/**
 * Starts the helper that carries out a `prepare`: Node has neither ioctl nor clock_settime, perl has `syscall` and `ioctl`.
 * It is started in the template and waits in a read, so that a clone need not start a process before it is reseeded.
 */
export function startPreparer(): { prepare(stream: MuxStream, header: PrepareHeader, receivedAtNs: bigint, onPrepared: () => void): void; moveClock(stream: MuxStream, header: ClockHeader): void } {
  const helper = spawn('/usr/bin/perl', ['/opt/swarm/prepare.pl'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: ((answer: string) => void)[] = []
  createInterface({ input: helper.stdout }).on('line', (line) => waiting.shift()?.(line))
  helper.on('exit', () => {
    for (const answer of waiting.splice(0)) answer('fail\tthe helper has ended')
  })
  return {
    prepare(stream, header, receivedAtNs, onPrepared) {
      waiting.push((line) => answerWith(stream, header, line, onPrepared))
      const entropy = Buffer.from(header.entropy, 'base64').toString('hex')
      helper.stdin.write([header.nowMs, receivedAtNs, entropy, header.machineId, header.hostname, header.mountScratch ? 1 : 0].join('\t') + '\n')
    },
    moveClock(stream, { stepMs }) {
      const answer = (guestNowMs: number): void => {
        stream.write(Buffer.from(JSON.stringify({ guestNowMs })))
        stream.end()
      }
      if (stepMs === 0) return answer(Date.now())
      waiting.push((line) => {
        const [status, detail = '', guestNowMs] = line.split('\t')
        if (status === 'ok') answer(Number(guestNowMs))
        else stream.reset(detail)
      })
      helper.stdin.write(`clock\t${Math.round(stepMs * 1e6)}\n`)
    },
  }
}

function answerWith(stream: MuxStream, header: PrepareHeader, line: string, onPrepared: () => void): void {
  const [status, detail = '', guestNowMs = ''] = line.split('\t')
  if (status !== 'ok') return stream.reset(detail)
  const done = detail.split(',')
  try {
    if (header.mountScratch) mkdirSync('/work/repository', { recursive: true })
    if (header.pids !== undefined) {
      writeFileSync(PIDS_MAX, String(header.pids))
      done.push('pids')
    }
    if (header.authority !== undefined) {
      trust(header.authority)
      done.push('authority')
    }
  } catch (error) {
    return stream.reset(error instanceof Error ? error.message : String(error))
  }
  onPrepared()
  stream.write(Buffer.from(JSON.stringify(PrepareAcknowledgement.parse({ done, guestNowMs: Number(guestNowMs) }))))
  stream.end()
}

/** Beside the file of the authority itself: what renews the system's bundle finds it there. */
function trust(authority: string): void {
  mkdirSync(dirname(GUEST_AUTHORITY_FILE), { recursive: true })
  writeFileSync(GUEST_AUTHORITY_FILE, authority)
  if (!readFileSync(GUEST_TRUST_FILE, 'utf8').includes(authority)) appendFileSync(GUEST_TRUST_FILE, `\n${authority}`)
}
