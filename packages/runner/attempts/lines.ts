/** Longest line kept, characters; the rest of a longer one is dropped, so that a flood cannot fill the memory. */
const MAX_LINE = 32 * 1024 * 1024

/** Splits a byte stream into lines of UTF-8, whatever the chunk borders. What came before is not looked at again: a line without an end costs no more than its bytes. */
export function lines(onLine: (line: string) => void): { push(chunk: Uint8Array): void; end(): void } {
  const decoder = new TextDecoder()
  let pieces: string[] = []
  let length = 0
  const keep = (piece: string): void => {
    const kept = piece.slice(0, MAX_LINE - length)
    if (kept === '') return
    pieces.push(kept)
    length += kept.length
  }
  const take = (text: string): void => {
    let from = 0
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', from)) {
      keep(text.slice(from, at))
      if (length > 0) onLine(pieces.join(''))
      pieces = []
      length = 0
      from = at + 1
    }
    keep(text.slice(from))
  }
  return {
    push: (chunk) => { take(decoder.decode(chunk, { stream: true })) },
    end: () => { take(`${decoder.decode()}\n`) },
  }
}
