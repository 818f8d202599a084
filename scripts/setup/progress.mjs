// Progress of the set-up, on stderr (stdout belongs to the command that follows). In a terminal a step is one line that is
// rewritten; in a pipe it is plain lines: the start, every 15 s where it is, and the end.

const PLAIN_REPEAT_MS = 15_000

/**
 * @param {NodeJS.WriteStream} [stream]
 * @returns {{ step(title: string): Step, note(text: string): void }}
 * @typedef {{ update(text: string): void, done(text: string): void, failed(text: string): void }} Step
 */
export function createProgress(stream = process.stderr) {
  const live = Boolean(stream.isTTY) && process.env.CI !== 'true'
  return {
    note: (text) => void stream.write(`${text}\n`),
    step(title) {
      const startedAt = performance.now()
      let current = ''
      let lastPlainAt = startedAt
      const seconds = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
      const draw = () => stream.write(`\r\u001b[2K… ${title}: ${current} (${seconds()})`.slice(0, (stream.columns ?? 100) + 5))
      const timer = setInterval(() => {
        if (current === '') return
        if (live) draw()
        else if (performance.now() - lastPlainAt >= PLAIN_REPEAT_MS) {
          lastPlainAt = performance.now()
          stream.write(`… ${title}: ${current} (${seconds()})\n`)
        }
      }, live ? 200 : 1000)
      timer.unref()
      const end = (mark, text) => {
        clearInterval(timer)
        const took = performance.now() - startedAt
        stream.write(`${live ? '\r\u001b[2K' : ''}${mark} ${title}: ${text}${took >= 100 ? ` (${seconds()})` : ''}\n`)
      }
      return {
        update(text) {
          const first = current === ''
          current = text
          if (live) draw()
          else if (first) stream.write(`… ${title}: ${text}\n`)
        },
        done: (text) => end('✓', text),
        failed: (text) => end('✗', text),
      }
    },
  }
}

/** @param {number} bytes @returns {string} for people: `48 MB` */
export function formatSize(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`
}
