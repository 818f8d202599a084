// The supervisor's end of the channel alone, for vsock.test.ts: each stream is answered with as many bytes as it brought.
import { openChannelPort, serveChannel, waitForHost } from './channel.ts'

const port = openChannelPort()
for (;;) {
  const { files, behindHello } = waitForHost(port)
  await serveChannel(files, behindHello, () => {}, (stream) => {
    let bytes = 0
    stream.handlers = {
      onData(chunk) {
        bytes += chunk.length
        stream.consumed(chunk.length)
      },
      onEnd() {
        stream.write(Buffer.alloc(bytes, 'z'))
        stream.end()
      },
    }
  })
  port.close(files)
}
