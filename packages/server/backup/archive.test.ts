import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { packFolder, unpackFile } from './archive.ts'

const never = new AbortController().signal

test('what is packed is unpacked as it was, modes included, however much padding follows it; half of it is refused', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'swarm-archive-'))
  const into = (name: string): string => {
    mkdirSync(join(folder, name))
    return join(folder, name)
  }
  try {
    writeFileSync(join(into('data'), 'secret'), 'x'.repeat(100_000), { mode: 0o600 })
    const file = join(folder, 'a.tar.gz')
    expect(await packFolder(folder, ['data'], file, never)).toBe(statSync(file).size)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    // tar stops reading at its end mark: what follows meets a closed pipe.
    writeFileSync(join(folder, 'padded.tar.gz'), gzipSync(Buffer.concat([gunzipSync(readFileSync(file)), Buffer.alloc(20_000_000)])))
    for (const [name, target] of [['a.tar.gz', into('one')], ['padded.tar.gz', into('two')]] as const) {
      await unpackFile(join(folder, name), target, never)
      expect(readFileSync(join(target, 'data', 'secret'), 'utf8')).toBe('x'.repeat(100_000))
      expect(statSync(join(target, 'data', 'secret')).mode & 0o777).toBe(0o600)
    }
    writeFileSync(join(folder, 'cut.tar.gz'), readFileSync(file).subarray(0, statSync(file).size - 100))
    await expect(unpackFile(join(folder, 'cut.tar.gz'), into('three'), never)).rejects.toMatchObject({ code: 'backup_invalid' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
