import { describe, expect, test } from 'vitest'
import { parseSwarmYml } from './swarm-yml.ts'

const refused = (text: string) => {
  try {
    parseSwarmYml(text)
  } catch (error) {
    return (error as { code: string; details: unknown }).code === 'swarm_yml_invalid' ? (error as { details: { line: number; problem: string } }).details : error
  }
  return 'accepted'
}

describe('swarm.yml', () => {
  test('is read whole, with its checks in the order of the file', () => {
    expect(parseSwarmYml(`
checks: { setup: npm ci, zlint: npm run lint, test: npm test }
image: { packages: [python3], npm: [typescript, "@a/b@1.2.3"], files: [{ from: tools/x.sh, to: /usr/local/bin/x, mode: 0755 }, { from: a.conf, to: /etc/a.conf }] }
setup: { inputs: ["tools/*"] }
egress: { allow: [packages.example.org, "*.example.net", "preset:npm"] }
scope: { protect: [".github/**"], generated: ["dist/**"] }
limits: { cpu: 1, memoryMb: 1024, diskMb: 2048, minutes: 30, usd: 2 }
`)).toEqual({
      checks: { setup: 'npm ci', list: [{ name: 'zlint', command: 'npm run lint' }, { name: 'test', command: 'npm test' }] },
      image: {
        packages: ['python3'], npm: ['typescript', '@a/b@1.2.3'],
        files: [{ from: 'tools/x.sh', to: '/usr/local/bin/x', mode: 0o755, line: 3 }, { from: 'a.conf', to: '/etc/a.conf', mode: 0o644, line: 3 }],
      },
      setupInputs: ['tools/*'],
      egressAllow: ['packages.example.org', '*.example.net', 'preset:npm'],
      scope: { protect: ['.github/**'], generated: ['dist/**'] },
      limits: { cpu: 1, memoryMb: 1024, diskMb: 2048, minutes: 30, usd: 2 },
    })
  })
  test('may be empty: checks are then detected', () => {
    expect(parseSwarmYml('')).toMatchObject({ checks: null, limits: {} })
    expect(parseSwarmYml('checks: {}\n').checks).toEqual({ setup: null, list: [] })
  })
  test('is refused with the line of the fault', () => {
    expect(refused('checks:\n  test: npm test\nlimit: { cpu: 1 }\n')).toEqual({ line: 3, problem: 'there is no setting limit' })
    expect(refused('checks:\n  lint: x\n  test: ""\n')).toMatchObject({ line: 3, problem: expect.stringContaining('checks.test') })
    expect(refused('limits:\n  cpu: many\n')).toMatchObject({ line: 2, problem: expect.stringContaining('limits.cpu') })
    expect(refused('checks:\n  test: a\n bad\n')).toMatchObject({ line: 3 })
    expect(refused('checks:\n  test: a\n  test: b\n')).toMatchObject({ line: 3 })
    expect(refused('- a\n')).toMatchObject({ problem: expect.stringContaining('the file') })
    expect(refused('checks:\n  "-x": a\n')).toMatchObject({ line: 2 })
    expect(refused('egress:\n  allow:\n    - "http://x"\n')).toMatchObject({ line: 3, problem: expect.stringContaining('egress.allow.0') })
    expect(refused('image: { packages: ["--force"] }\n')).toMatchObject({ line: 1 })
    expect(refused('image:\n  npm: ["typescript@^5"]\n')).toMatchObject({ line: 2, problem: expect.stringContaining('exact version') })
    expect(refused('image:\n  npm: ["-g"]\n')).toMatchObject({ line: 2 })
    expect(refused('image:\n  files:\n    - from: a\n      to: /etc/../proc/x\n')).toMatchObject({ line: 4, problem: expect.stringContaining('image.files.0.to: it is not a plain path') })
    expect(refused('image:\n  files:\n    - from: ../a\n      to: /etc/x\n')).toMatchObject({ line: 3, problem: expect.stringContaining('inside the repository') })
    expect(refused('image:\n  files:\n    - { from: a, to: /etc/x, mode: rwx }\n')).toMatchObject({ line: 3, problem: expect.stringContaining('mode') })
    expect(refused('image:\n  files:\n    - { from: a, to: /etc/x }\n    - { from: b, to: /etc/x }\n')).toMatchObject({ line: 4, problem: expect.stringContaining('twice') })
    expect(refused('x'.repeat(70_000))).toMatchObject({ problem: expect.stringContaining('larger') })
  })
  test('cannot be blown up by aliases', () => {
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', ...'bcdefg'.split('').map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`)].join('\n')
    expect(refused(bomb)).toMatchObject({ line: 1 })
  })
})
