import { createConnection, type Socket } from 'node:net'

/** The longest answer to CONNECT is `OK 4294967295`. */
const MAX_ANSWER_BYTES = 32

/**
 * Connects to a port of the guest's vsock through the socket of the VMM: `CONNECT port`, answered by `OK n` once the guest has taken
 * the connection, and by its end when nobody listens there.
 * @throws Error when it is refused
 */
export function connectVsock(socketPath: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path: socketPath })
    let answer = Buffer.alloc(0)
    const fail = (problem: string) => {
      socket.destroy()
      reject(new Error(`vsock port ${port}: ${problem}`))
    }
    const onData = (bytes: Buffer) => {
      answer = Buffer.concat([answer, bytes])
      const end = answer.indexOf('\n')
      if (end < 0) return answer.length > MAX_ANSWER_BYTES ? fail('its answer is not valid') : undefined
      if (!/^OK \d+$/.test(answer.toString('latin1', 0, end))) return fail(`it answered ${JSON.stringify(answer.toString('latin1', 0, Math.min(end, MAX_ANSWER_BYTES)))}`)
      socket.off('data', onData).off('close', onClose).off('error', onError)
      socket.pause()
      const rest = answer.subarray(end + 1)
      if (rest.length > 0) socket.unshift(rest)
      resolve(socket)
    }
    const onClose = () => { fail('nobody listens') }
    const onError = (error: Error) => { fail(error.message) }
    socket.on('data', onData).on('close', onClose).on('error', onError)
    socket.write(`CONNECT ${port}\n`)
  })
}
