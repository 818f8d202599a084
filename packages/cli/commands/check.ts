import { HostAudit, IntegrityReport, INVARIANTS, type Violation } from '@swarm/contract/integrity.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { userPath } from '../config.ts'
import { EXIT } from '../exit-codes.ts'
import { hostCommand } from '../platform/host-command.ts'

/** What each invariant promises, in a few words. */
const PROMISES: Record<Violation['invariant'], string> = {
  I1: 'every ticket has ended, or can be moved and says why it waits', I2: 'one attempt of a ticket writes at a time, under the current fence', I3: 'one branch and one change per ticket',
  I4: 'every value of main passed its checks on exactly that tree', I5: 'what ended attempts wrote is kept', I6: 'nothing outlives its owner by more than 30 s',
  I7: 'money recorded covers what was served, and stays below the ceilings', I8: 'no ticket starts before those it depends on are merged', I9: 'the events alone give the state of the tables',
  I10: 'approvals are used once, on what was shown',
}

const Reclaimed = z.object({ reclaimed: z.array(z.looseObject({ slot: z.string() })) })

export const check = command({
  name: 'check',
  summary: 'Checks an installation against its promises: tickets, git, money, events, processes',
  description: 'Reads the database, the repositories, the processes of this host and the log of the rehearsal, and changes nothing;\nthe platform may run meanwhile. Exit code 1 when a promise is broken.\n--repair never touches main or the events, and leaves to a running platform what that mends by itself.',
  examples: [['swarm check', 'what holds and what does not'], ['swarm check --json', 'the same as JSON, on the last line'], ['swarm check --repair', 'mends what is safe to mend, and says what it did']],
  options: [
    { flags: '--model-log <file>', description: 'what the model served, JSON lines (logs/rehearsal.jsonl of SWARM_HOME unless given)' },
    { flags: '--repair', description: 'mend what can be mended without deciding anything: ended leases, branches that lag, dead calls, orphans' },
    { flags: '--settled', description: 'nothing is in flight: what follows after a moment must have followed' },
  ],
  input: z.object({ modelLog: z.string().optional(), settled: z.boolean().default(false), repair: z.boolean().default(false) }),
  async run({ modelLog, settled, repair }, { io, settings, signal }) {
    const { config } = settings()
    const env = { SWARM_HOME: config.home, SWARM_CACHE: config.cache }
    const reclaimed = repair ? (await hostCommand('reclaim', Reclaimed, { env, signal })).reclaimed : []
    const audit = await hostCommand('audit', HostAudit, { env, signal })
    const args = [...modelLog === undefined ? [] : ['--model-log', userPath(modelLog)], ...settled ? ['--settled'] : [], ...repair ? ['--repair'] : []]
    const report = await hostCommand('check', IntegrityReport, { of: 'server', env, args, input: JSON.stringify(audit), signal })
    const { violations, checked } = report
    const repairs = [...reclaimed.map(({ slot }) => ({ invariant: 'I6' as const, subject: { kind: 'record', id: slot }, done: true, what: 'took away what its dead runner had left' })), ...report.repairs ?? []]
    const lines = INVARIANTS.flatMap((invariant) => {
      const broken = violations.filter((violation) => violation.invariant === invariant)
      const mark = broken.length === 0 ? io.style('green', '✓') : io.style('red', '✗')
      return [`${mark} ${invariant.padEnd(3)} ${PROMISES[invariant]}`, ...broken.map(({ subject, message }) => `      ${subject.kind} ${subject.id}: ${message}`)]
    })
    const looked = `${checked.tickets} tickets, ${checked.attempts} attempts, ${checked.changes} changes, ${checked.approvals} approvals, ${checked.modelCalls} model calls, ${checked.events} events, ${checked.refs} refs, ${checked.mainValues} values of main, ${checked.processes} processes`
    return {
      json: { ...report, ...repair ? { repairs } : {} }, exitCode: report.ok ? EXIT.ok : EXIT.failed,
      text: [...repairs.map(({ subject, done, what }) => `${done ? 'mended' : 'left  '} ${subject.kind} ${subject.id}: ${what}`), ...lines, '', `Looked at ${looked}${report.live ? ', while the platform runs' : ''}.`, violations.length === 0 ? 'Every promise holds.' : `${violations.length} ${violations.length === 1 ? 'violation' : 'violations'}.`].join('\n'),
    }
  },
})
