import { existsSync, readdirSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestDriver, testCache, TEST_SIZE } from '../../vms/testing.ts'
import { templatesFolder } from '../../vms/templates.ts'

let host: Awaited<ReturnType<typeof openTestDriver>>
beforeAll(async () => { host = await openTestDriver({ warm: 0 }) })
afterAll(() => host[Symbol.asyncDispose]())

test('a template that somebody has removed from memory is booted again by the same driver, and its microVMs start from the new one', async () => {
  const { driver, template } = host
  const restored = async (id: string): Promise<string> => {
    await using vm = await driver.restore(template, { id, limits: {}, correlationId: 'test' })
    return (await vm.exec({ argv: ['echo', 'up'] })).stdout
  }
  expect(await restored('VM-BEFORE01')).toBe('up\n')
  rmSync(template.directory, { recursive: true })
  const again = await driver.buildTemplate(template.image, TEST_SIZE)
  expect(again).toMatchObject({ key: template.key, directory: template.directory })
  expect(again.builtAtMs).toBeGreaterThan(template.builtAtMs)
  await using vm = await driver.restore(again, { id: 'VM-AFTER001', limits: {}, correlationId: 'test' })
  expect((await vm.exec({ argv: ['echo', 'up'] })).stdout).toBe('up\n')
})

test('a template that cannot be booted says why, in words of QEMU, and leaves nothing in memory', async () => {
  const { driver, template } = host
  const before = readdirSync(templatesFolder(testCache()))
  const image = { ...template.image!, digest: 'f'.repeat(64), kernel: '/dev/null' }
  await expect(driver.buildTemplate(image, TEST_SIZE)).rejects.toThrow(/could not load kernel/)
  expect(readdirSync(templatesFolder(testCache()))).toEqual(before)
  expect(existsSync(template.directory)).toBe(true)
})
