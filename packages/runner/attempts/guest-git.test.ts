import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { configValue } from './guest-git.ts'

test.each(["O'Neil", 'a "quoted" \\ name', '# not; a comment', ' spaces at both ends ', 'two\nlines\n[section]', 'percent %s $(id) `id`'])('git reads the name %j from its configuration as it was given', (name) => {
  const read = execFileSync('git', ['config', '--file', '-', '--null', '--get', 'user.name'], { input: `[user]\n\tname = ${configValue(name)}\n\temail = x\n`, encoding: 'utf8' })
  expect(read).toBe(`${name}\0`)
})
