import { CHANNEL_PORT_NAME } from '@swarm/contract/guest-protocol.ts'
import type { Image } from '../../images/image.ts'
import type { VmSize } from '../driver.ts'

export interface QemuPlace {
  /** Word that finds this process again among all: `swarm-slot-<id>`. */
  name: string
  accelerator: 'tcg' | 'kvm'
  image: Image
  size: VmSize
  memoryFile: string
  scratchDisk: string
  qmpSocket: string
  channelSocket: string
  /** A template writes its memory to the file and its console to a log; a clone maps the file privately and has no console. */
  role: { template: { consoleLog: string } } | 'clone'
}

/** Translated code of the guest, MB, under software emulation. */
export const TRANSLATION_CACHE_MB = 256

/** Kept of what a clone's console says; QEMU wants a power of two. */
export const CONSOLE_BYTES = 64 * 1024

/**
 * QEMU's command line. q35 with PCI devices: under TCG `-M microvm` can hang at TSC calibration, and Debian's kernels find
 * no devices there without ACPI. There is no network device of any kind. The sandbox denies QEMU new programs, more
 * privileges and obsolete calls; `resourcecontrol` stays allowed (TCG sets the affinity of its threads).
 */
export function qemuArguments(place: QemuPlace): string[] {
  const { image, size } = place
  const template = place.role === 'clone' ? null : place.role.template
  return [
    '-name', place.name,
    '-machine', `q35,memory-backend=memory,vmport=off,hpet=off`,
    // The translation cache may grow to 1 GiB by default: a busy guest of 512 MB then exceeded a limit of 1 GiB.
    '-accel', place.accelerator === 'kvm' ? 'kvm' : `tcg,tb-size=${TRANSLATION_CACHE_MB}`,
    '-cpu', place.accelerator === 'kvm' ? 'host' : 'max',
    '-smp', String(size.vcpus),
    '-m', `${size.memoryMb}M`,
    '-object', `memory-backend-file,id=memory,size=${size.memoryMb}M,mem-path=${escape(place.memoryFile)},share=${template === null ? 'off' : 'on'}`,
    '-kernel', image.kernel, '-initrd', image.initrd,
    '-append', 'console=ttyS0 reboot=t panic=-1 quiet loglevel=4 random.trust_cpu=off',
    '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
    '-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny',
    // A guest that floods its console must not fill the host's disk: of a clone's the end is kept, in memory.
    '-chardev', template === null ? `ringbuf,id=console,size=${CONSOLE_BYTES}` : `file,id=console,path=${escape(template.consoleLog)}`, '-serial', 'chardev:console',
    '-qmp', `unix:${escape(place.qmpSocket)},server=off`,
    '-drive', `id=root,file=${escape(image.root)},format=raw,if=none,readonly=on`, '-device', 'virtio-blk-pci,drive=root',
    // The disk ends with the VM: nothing needs to reach the platter.
    '-drive', `id=scratch,file=${escape(place.scratchDisk)},format=raw,if=none,cache=unsafe,discard=unmap`, '-device', 'virtio-blk-pci,drive=scratch',
    '-device', 'virtio-serial-pci', '-chardev', `socket,id=channel,path=${escape(place.channelSocket)},server=off`,
    '-device', `virtserialport,chardev=channel,name=${CHANNEL_PORT_NAME}`,
    ...(template === null ? ['-incoming', 'defer'] : []),
  ]
}

/** In QEMU's option lists a comma is doubled. */
function escape(path: string): string {
  return path.replaceAll(',', ',,')
}
