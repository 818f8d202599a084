import { readMachine } from '../../host/machine.ts'
import { ensureImage } from '../../images/images.ts'
import { findTool } from '../../images/tools.ts'
import { testCache } from '../../vms/testing.ts'
import { probeKvm } from '../qemu/kvm.ts'
import { firecrackerProblems } from './binaries.ts'

/** Why the real Firecracker cannot be tested on this machine; null where it can. */
export async function whyNotTested(): Promise<string | null> {
  if (findTool('firecracker') === null || findTool('jailer') === null) return `Firecracker is not installed: ${firecrackerProblems({}).join('; ')}`
  const problems = firecrackerProblems({})
  if (problems.length > 0) return problems.join('; ')
  const qemu = findTool('qemu-system-x86_64')
  if (qemu === null) return null
  const kvm = await probeKvm(testCache(), await readMachine(qemu), await ensureImage({ cache: testCache() }), qemu)
  return kvm.works ? null : `KVM does not boot a kernel here: ${kvm.detail}`
}
