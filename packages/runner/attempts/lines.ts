/** Longest line kept, characters; the rest of a longer one is dropped, so that a flood cannot fill the memory. */
const MAX_LINE = 32 * 1024 * 1024

/** Splits a byte stream into lines of UTF-8, whatever the chunk borders. */
export function lines(onLine: (line: string) => void): { push(chunk: Uint8Array): void; end(): void } {
  const decoder = new TextDecoder()
  let rest = ''
  const take = (text: string): void => {
    const parts = (rest + text).split('\n')
    rest = (parts.pop() ?? '').slice(0, MAX_LINE)
    for (const part of parts) if (part !== '') onLine(part)
  }
  return {
    push: (chunk) => { take(decoder.decode(chunk, { stream: true })) },
    end: () => { take(`${decoder.decode()}\n`) },
  }
}
