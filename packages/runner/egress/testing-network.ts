import dgram from 'node:dgram'
import net from 'node:net'
import { parseAddress } from '@swarm/core/net/addresses.ts'

/* For tests in a network namespace of their own: recording listeners on made-up addresses, and a name server that rebinds. */

/** What is told of each connection and question. */
export type Say = (event: Record<string, unknown>) => void

/** Listens on TCP at every address and tells who was reached and what came; TLS, or what passes for it, is echoed, HTTP answered. */
export async function recordConnections(places: readonly { address: string; port: number }[], say: Say): Promise<void> {
  for (const { address, port } of places) {
    const server = net.createServer((socket) => {
      say({ reached: `${address} ${port}` })
      socket.on('error', () => socket.destroy())
      socket.once('data', (chunk: Buffer) => {
        say({ got: `${address} ${port}`, text: chunk.toString('latin1').slice(0, 200) })
        if (chunk[0] === 0x16) socket.end(chunk)
        else socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${address.length}\r\nConnection: close\r\n\r\n${address}`)
      })
    })
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, address, resolve))
  }
}

/** Takes UDP at every address and tells what arrived. */
export async function recordDatagrams(places: readonly { address: string; port: number }[], say: Say): Promise<void> {
  for (const { address, port } of places) {
    const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4')
    socket.on('message', () => say({ reached: `${address} ${port}/udp` }))
    await new Promise<void>((resolve) => socket.bind(port, address, resolve))
  }
}

/**
 * A name server on UDP port 53 of 127.0.0.1.
 * @param names answers of a name, in turn for each type (A, AAAA); the last one stays
 */
export async function answerNames(names: Readonly<Record<string, readonly (readonly string[])[]>>, say: Say): Promise<void> {
  const asked = new Map<string, number>()
  const server = dgram.createSocket('udp4')
  server.on('message', (query, remote) => {
    const labels: string[] = []
    let at = 12
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.subarray(at + 1, at + 1 + length).toString('latin1'))
      at += 1 + length
    }
    const name = labels.join('.').toLowerCase()
    const type = query.readUInt16BE(at + 1)
    const turns = names[name]
    const turn = asked.get(`${name} ${type}`) ?? 0
    asked.set(`${name} ${type}`, turn + 1)
    say({ asked: `${name} ${type === 28 ? 'AAAA' : 'A'}` })
    const addresses = (turns?.[Math.min(turn, turns.length - 1)] ?? []).filter((address) => net.isIP(address) === (type === 28 ? 6 : 4))
    const records = addresses.map((address) => {
      const bytes = Buffer.from((parseAddress(address)?.value ?? 0n).toString(16).padStart(type === 28 ? 32 : 8, '0'), 'hex')
      return Buffer.concat([Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, bytes.length]), bytes])
    })
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(turns === undefined ? 0x8183 : 0x8180, 2)
    head.writeUInt16BE(records.length, 6)
    head.fill(0, 8, 12)
    server.send(Buffer.concat([head, query.subarray(12, at + 5), ...records]), remote.port, remote.address)
  })
  await new Promise<void>((resolve) => server.bind(53, '127.0.0.1', resolve))
}
