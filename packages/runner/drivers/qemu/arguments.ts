import { CHANNEL_PORT_NAME } from '@swarm/contract/guest-protocol.ts'
import type { Image } from '../../images/image.ts'
import type { VmSize } from '../driver.ts'

/**
 * Descriptors that QEMU starts with, beside the standard ones; it gets no path to anything of a microVM. What has a name as a
 * file is opened anew by it (/proc/self/fd), as its own user.
 */
export const DESCRIPTORS = { state: 3, control: 4, channel: 5, kernel: 6, initrd: 7, root: 8, scratch: 9, memory: 10 } as const

export interface QemuPlace {
  /** Word that finds this process again among all: `swarm-slot-<id>`. */
  name: string
  accelerator: Accelerator
  image: Image
  size: VmSize
  scratchDisk: string
  /** A template writes its memory to the file and its console to a log; a clone maps memory privately and has no console. */
  role: { template: { memoryFile: string; consoleLog: string } } | 'clone'
}

/** `hvf` is macOS's: its arguments are written by the documentation and were never run. */
export type Accelerator = 'tcg' | 'kvm' | 'hvf'

/**
 * Machine models: the least that a guest can do with, each with PCI for its virtio devices. q35 under emulation, where a kernel on
 * `microvm` hangs as it looks for the frequency of its clock, which KVM tells it. SATA and SMBus of q35 are of no use to a guest, and
 * code that it could talk to; `microvm` has neither those nor legacy interrupts, timers and ROMs. Debian's kernels find no devices
 * there without ACPI (docs/decisions/0018).
 */
export const MACHINES: Record<Accelerator, string> = {
  tcg: 'q35,vmport=off,hpet=off,sata=off,smbus=off,usb=off',
  kvm: 'microvm,acpi=on,pcie=on,pit=off,pic=off,rtc=on,usb=off,x-option-roms=off,auto-kernel-cmdline=off',
  hvf: 'q35,vmport=off,hpet=off,sata=off,smbus=off,usb=off',
}

/** Translated code of the guest, MB, under software emulation. */
export const TRANSLATION_CACHE_MB = 256

/** Kept of what a clone's console says; QEMU wants a power of two. */
export const CONSOLE_BYTES = 64 * 1024

/**
 * QEMU's command line. There is no network device of any kind. The sandbox denies QEMU new programs, more privileges, obsolete
 * calls and changes of its scheduling.
 */
export function qemuArguments(place: QemuPlace): string[] {
  const { size } = place
  const template = place.role === 'clone' ? null : place.role.template
  const file = (name: keyof typeof DESCRIPTORS) => `/proc/self/fd/${DESCRIPTORS[name]}`
  return [
    '-name', place.name,
    '-machine', `${MACHINES[place.accelerator]},memory-backend=memory`,
    // The translation cache may grow to 1 GiB by default: a busy guest of 512 MB then exceeded a limit of 1 GiB.
    '-accel', place.accelerator === 'tcg' ? `tcg,tb-size=${TRANSLATION_CACHE_MB}` : place.accelerator,
    '-cpu', place.accelerator === 'tcg' ? 'max' : 'host',
    '-smp', String(size.vcpus),
    '-m', `${size.memoryMb}M`,
    '-object', `memory-backend-file,id=memory,size=${size.memoryMb}M,mem-path=${template === null ? file('memory') : escape(template.memoryFile)},share=${template === null ? 'off' : 'on'}`,
    '-kernel', file('kernel'), '-initrd', file('initrd'),
    '-append', 'console=ttyS0 reboot=t panic=-1 quiet loglevel=4 random.trust_cpu=off',
    '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
    '-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    // A guest that floods its console must not fill the host's disk: of a clone's the end is kept, in memory.
    '-chardev', template === null ? `ringbuf,id=console,size=${CONSOLE_BYTES}` : `file,id=console,path=${escape(template.consoleLog)}`, '-serial', 'chardev:console',
    '-chardev', `socket,id=control,fd=${DESCRIPTORS.control}`, '-mon', 'chardev=control,mode=control',
    '-drive', `id=root,file=${file('root')},format=raw,if=none,readonly=on`, '-device', 'virtio-blk-pci,drive=root',
    // The disk ends with the VM: nothing needs to reach the platter.
    '-drive', `id=scratch,file=${file('scratch')},format=raw,if=none,cache=unsafe,discard=unmap`, '-device', 'virtio-blk-pci,drive=scratch',
    '-device', 'virtio-serial-pci', '-chardev', `socket,id=channel,fd=${DESCRIPTORS.channel}`,
    '-device', `virtserialport,chardev=channel,name=${CHANNEL_PORT_NAME}`,
    ...(template === null ? ['-incoming', 'defer'] : []),
  ]
}

/** In QEMU's option lists a comma is doubled. */
function escape(path: string): string {
  return path.replaceAll(',', ',,')
}
