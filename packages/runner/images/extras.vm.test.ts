import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createQemuDriver } from '../drivers/qemu/qemu.ts'
import { TEST_SIZE, testCache } from '../vms/testing.ts'
import { listBuilds, readBuildLog } from './builds.ts'
import { ensureImage, releaseImage } from './images.ts'

test('what swarm.yml adds to the image (a package, a global npm package, a file) is used in the guest and named with its version', async () => {
  const cache = testCache()
  const file = { path: '/usr/local/bin/greet', mode: 0o755, content: Buffer.from('#!/bin/sh\necho "hello from the repository"\n').toString('base64') }
  const image = await ensureImage({ cache, extras: { packages: ['jq'], npm: ['semver@7.6.3'], files: [file] } })
  const stateDir = mkdtempSync(join(tmpdir(), 'swarm-vm-test-'))
  try {
    expect(image.about).toBe('jq, semver@7.6.3, /usr/local/bin/greet')
    expect(image.versions).toMatchObject({ packages: { 'jq': expect.stringMatching(/^\d/), 'libjq1': expect.stringMatching(/^\d/), 'git': expect.any(String) }, npm: { semver: '7.6.3', npm: expect.any(String) } })
    // Its root is kept when only the guest's programs are others than in an earlier run; then the log of another build tells of it.
    const log = listBuilds(cache).filter(({ key }) => key === image.digest).map(readBuildLog).join('')
    expect(log.includes('# root: ') ? log : '$ npm install --global semver@7.6.3').toMatch(/\$ npm install --global .*semver@7\.6\.3/)
    await using driver = await createQemuDriver({ cache, stateDir, warm: 0 })
    await using vm = await driver.restore(await driver.buildTemplate(image, TEST_SIZE), { id: 'VM-EXTRAS01', limits: {}, correlationId: 'test' })
    expect(await vm.exec({ argv: ['/bin/sh', '-c', 'jq -n 1+1; semver 1.2.3; greet; stat -c %a /usr/local/bin/greet'] })).toMatchObject({ code: 0, stdout: '2\n1.2.3\nhello from the repository\n755\n' })
    // Another file is another image.
    expect((await ensureImage({ cache, extras: { packages: ['jq'], npm: ['semver@7.6.3'], files: [{ ...file, mode: 0o700 }] } })).digest).not.toBe(image.digest)
  } finally {
    releaseImage(cache, image.digest)
    rmSync(stateDir, { recursive: true, force: true })
  }
  // The first time on a machine this installs the packages of a distribution.
}, 900_000)
