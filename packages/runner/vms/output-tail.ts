/** Keeps the last bytes of an output: whole chunks, from the one that reaches over `limit` on. */
export function outputTail(limit = Infinity): { push(chunk: Buffer): void; text(): string } {
  const chunks: Buffer[] = []
  let bytes = 0
  return {
    push(chunk) {
      chunks.push(chunk)
      bytes += chunk.length
      for (let first = chunks[0]; first !== undefined && bytes - first.length >= limit; first = chunks[0]) {
        bytes -= first.length
        chunks.shift()
      }
    },
    text: () => {
      const whole = Buffer.concat(chunks)
      return (whole.length > limit ? whole.subarray(-limit) : whole).toString('utf8')
    },
  }
}
