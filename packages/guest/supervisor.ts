import type { Mux, MuxStream } from '@swarm/contract/channel.ts'
import { openChannelPort, serveChannel, waitForHost } from './channel.ts'
import { runExec } from './exec.ts'
import { listenForForwards } from './forward.ts'
import { startPreparer } from './prepare.ts'

/*
 * The supervisor of a microVM: one process, started at boot and saved in the template, that answers the runner over the
 * channel (guest-protocol.ts). It draws no randomness: whatever it would draw, every clone of the template would share.
 */

let mux: Mux | null = null
/** Nothing runs before a clone has its own clock and randomness. */
let prepared = false

const port = openChannelPort()
const preparer = startPreparer()
await listenForForwards(() => (prepared ? mux : null))

function onOpen(stream: MuxStream): void {
  const header = stream.header
  if (header.kind === 'prepare') return preparer.prepare(stream, header, process.hrtime.bigint(), () => { prepared = true })
  if (header.kind === 'ping') return stream.end()
  if (header.kind === 'clock' && prepared) return preparer.moveClock(stream, header)
  const own = mux
  if (header.kind === 'exec' && prepared) return runExec(stream, header, () => own === null || own.failed !== null)
  stream.reset(prepared ? 'the guest does not open such streams' : 'not prepared yet')
}

for (;;) {
  const { files, behindHello } = waitForHost(port)
  await serveChannel(files, behindHello, (next) => { mux = next }, onOpen)
  port.close(files)
  mux = null
  prepared = false
}
