/** Of memory that output is copied into: the first piece, then the others. However small the chunks are, there are few pieces. */
const PIECE_BYTES = { first: 4 * 1024, next: 64 * 1024 }

/** Keeps the last bytes of an output, `limit` at least where there are so many. */
export function outputTail(limit = Infinity): { push(chunk: Buffer): void; text(): string } {
  const pieces: Buffer[] = []
  let [filled, bytes] = [0, 0]
  return {
    push(chunk) {
      for (let at = 0; at < chunk.length && limit > 0;) {
        let last = pieces.at(-1)
        if (last === undefined || filled === last.length) {
          last = Buffer.allocUnsafeSlow(last === undefined ? PIECE_BYTES.first : PIECE_BYTES.next)
          pieces.push(last)
          filled = 0
        }
        const copied = chunk.copy(last, filled, at)
        at += copied
        filled += copied
        bytes += copied
        for (let first = pieces[0]; first !== undefined && pieces.length > 1 && bytes - first.length >= limit; first = pieces[0]) {
          bytes -= first.length
          pieces.shift()
        }
      }
    },
    text: () => {
      const whole = Buffer.concat([...pieces.slice(0, -1), ...pieces.slice(-1).map((last) => last.subarray(0, filled))])
      return (whole.length > limit ? whole.subarray(-limit) : whole).toString('utf8')
    },
  }
}
