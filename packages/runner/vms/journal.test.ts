import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { openVmJournal } from './journal.ts'

test('what killed processes left of their writes is gone once the journal is opened again; that of one that lives stays until it ends', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'swarm-journal-test-'))
  // Writes records until it is stopped in the middle of one: there is a file beside those of whole records then.
  const program = `import { openVmJournal } from ${JSON.stringify(new URL('./journal.ts', import.meta.url).href)}; const journal = openVmJournal(${JSON.stringify(directory)}); const folders = Array.from({ length: 200_000 }, () => 'x'.repeat(20)); for (;;) { journal.add('slot', folders); process.stdout.write('.') }`
  const writer = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const unfinished = () => readdirSync(directory).filter((name) => name !== 'slot.json')
  try {
    await once(writer.stdout, 'data')
    writer.stdout.resume()
    do {
      writer.kill('SIGCONT')
      await new Promise((resolve) => setImmediate(resolve))
      writer.kill('SIGSTOP')
      await vi.waitFor(() => { expect(readFileSync(`/proc/${writer.pid}/stat`, 'utf8')).toContain(') T ') }, { timeout: 10_000, interval: 1 })
    } while (unfinished().length === 0)
    openVmJournal(directory)
    expect(unfinished()).toHaveLength(1)
    writer.kill('SIGKILL')
    await once(writer, 'close')
    expect(unfinished()).toHaveLength(1)
    openVmJournal(directory)
    expect(unfinished()).toEqual([])
  } finally {
    writer.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
})
