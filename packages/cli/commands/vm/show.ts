import { showVm, type MicroVmDetail, type VmOperation } from '@swarm/contract/endpoints/vms.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { duration, size, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'

export const vmShow = command({
  name: 'vm show',
  summary: 'Shows a microVM: whose it is, what it was given and uses, how it ended, and what people had done to it',
  examples: [['swarm vm show VM-7Q2M9XKD', 'with the last 20 things that people had done to it']],
  arguments: [{ name: 'id', description: 'the microVM' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const vm = await connect(settings().config).client.call(showVm, { params: { vmId: id } }, { signal })
    return {
      json: vm,
      text: [
        `${vm.id}  ${vm.paused ? 'paused' : vm.state}`, `  work       ${vm.workKind} ${vm.workId}${vm.ticketId === null ? '' : ` of ${vm.ticketId}${vm.ticketTitle === null ? '' : ` "${vm.ticketTitle}"`}`}`,
        `  runner     ${vm.runnerName} (${vm.driver})`, ...(vm.parentId === null ? [] : [`  forked     from ${vm.parentId}`]), `  template   ${vm.templateKey.slice(0, 16)}, image ${vm.imageDigest?.slice(0, 16) ?? '-'}`,
        `  size       ${vm.size === null ? '-' : `${vm.size.vcpus} vCPU, ${vm.size.memoryMb} MB, scratch disk of ${vm.size.scratchMb} MB`}`, `  limits     ${limits(vm)}`,
        `  started    ${time(vm.startedAt)}, restored in ${vm.restoreMs === null ? '-' : `${vm.restoreMs} ms`}`, ...usage(vm),
        ...(vm.endedAt === null ? [] : [`  ended      ${time(vm.endedAt)} ${vm.endReason ?? ''}${vm.endDetail === null ? '' : `: ${vm.endDetail}`}`]),
        ...(vm.operations.length === 0 ? [] : ['', ...vm.operations.map(operationLine)]),
      ].join('\n'),
    }
  },
})

function limits({ limits: held }: MicroVmDetail): string {
  const { cpuShare, pids, wallMs, egressBytes } = held ?? {}
  const all = [cpuShare && `${cpuShare} cores`, pids && `${pids} processes`, wallMs && duration(wallMs), egressBytes && `${size(egressBytes)} of egress`]
  return all.filter(Boolean).join(', ') || '-'
}

function usage({ usage: now }: MicroVmDetail): string[] {
  if (now === null) return ['  usage      not measured yet']
  return [
    `  usage      ${(now.cpuMillicores / 1_000).toFixed(2)} cores (${duration(now.cpuMs)} in all), memory ${size(now.pssBytes)} (resident ${size(now.rssBytes)}, at most ${size(now.peakRssBytes)})`,
    `             disk ${size(now.scratchBytes)}, egress ${size(now.egressBytes)}, ${now.openForwards} open connections; at ${time(now.sampledAt)}`,
  ]
}

function operationLine(operation: VmOperation): string {
  const what = operation.argv === null ? operation.reason ?? '' : operation.argv.join(' ')
  const end = operation.exitCode === null ? operation.failure ?? '' : `exit ${operation.exitCode}`
  return `  ${time(operation.createdAt)} ${operation.kind} ${operation.state}  by ${operation.requestedBy}${what === '' ? '' : `: ${what.length > 80 ? `${what.slice(0, 79)}…` : what}`}${end === '' ? '' : `  [${end}]`}`
}
