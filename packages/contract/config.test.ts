import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { resolveSettings, SETTINGS } from './config.ts'

const base = { env: {}, userFolder: '/home/user' }

test('without any setting there are defaults, and each says so', () => {
  const { config, sources } = resolveSettings(base)
  expect(config).toMatchObject({ home: '/home/user/.swarm', port: 8080, host: '127.0.0.1', lease: { ttlMs: 30_000, beatMs: 10_000 }, egress: { exemptions: [] }, vm: { driver: 'auto' } })
  expect(config.databaseUrl).toBeUndefined()
  expect(new Set(Object.values(sources))).toEqual(new Set(['default']))
  expect(Object.keys(sources)).toEqual(SETTINGS.map(({ path }) => path))
})

test('arguments win over the environment, that over the file, that over defaults', () => {
  const { config, sources } = resolveSettings({
    ...base, filePath: '/home/user/.swarm/config.yml', file: { port: 1, concurrency: 7, lease: { ttlMs: 5_000 } },
    env: { SWARM_PORT: '2', SWARM_LEASE_BEAT_MS: '100', SWARM_HOST: '' }, argv: { port: 3 },
  })
  expect(config).toMatchObject({ port: 3, concurrency: 7, lease: { ttlMs: 5_000, beatMs: 100 }, host: '127.0.0.1' })
  expect(sources).toMatchObject({ port: 'argument', concurrency: '/home/user/.swarm/config.yml', 'lease.ttlMs': '/home/user/.swarm/config.yml', 'lease.beatMs': 'environment SWARM_LEASE_BEAT_MS', host: 'default' })
})

test('lists and objects are read from the environment', () => {
  const { config } = resolveSettings({ ...base, env: { SWARM_TRUSTED_PROXIES: '10.0.0.1, 192.168.0.0/16', SWARM_EGRESS_EXEMPTIONS: '[{"host":"registry.example.org","cidr":"10.1.0.0/16"}]' } })
  expect(config.trustedProxies).toEqual(['10.0.0.1', '192.168.0.0/16'])
  expect(config.egress.exemptions).toEqual([{ host: 'registry.example.org', cidr: '10.1.0.0/16' }])
})

test('secrets do not print', () => {
  const { config } = resolveSettings({ ...base, env: { ANTHROPIC_API_KEY: 'sk-ant-hidden', DATABASE_URL: 'postgres://u:hidden@db/swarm' } })
  expect(config.model.apiKey?.reveal()).toBe('sk-ant-hidden')
  expect(config.databaseUrl?.reveal()).toBe('postgres://u:hidden@db/swarm')
  expect(`${JSON.stringify(config)} ${inspect(config, { depth: 9 })} ${config.databaseUrl}`).not.toContain('hidden')
})

test.each([
  [{ env: { SWARM_PORT: 'many' } }, { field: 'port', source: 'environment SWARM_PORT' }],
  [{ env: { SWARM_PORT: '70000' } }, { field: 'port', source: 'environment SWARM_PORT' }],
  [{ file: { prot: 1 }, filePath: 'config.yml' }, { field: 'prot', problem: 'there is no such setting', source: 'config.yml' }],
  [{ file: { lease: { ttl: 1 } }, filePath: 'config.yml' }, { field: 'lease.ttl', problem: 'there is no such setting', source: 'config.yml' }],
  [{ file: { lease: 'long' }, filePath: 'config.yml' }, { field: 'lease', source: 'config.yml' }],
  [{ file: ['a'], filePath: 'config.yml' }, { source: 'config.yml' }],
  [{ env: { SWARM_EGRESS_EXEMPTIONS: '[{"host":"x","cidr":"everything"}]' } }, { field: 'egress.exemptions.0.cidr', source: 'environment SWARM_EGRESS_EXEMPTIONS' }],
  [{ env: { SWARM_EGRESS_EXEMPTIONS: 'x' } }, { field: 'egress.exemptions' }],
])('a wrong setting names itself, what is wrong and where it was set: %j', (input, details) => {
  expect(() => resolveSettings({ ...base, ...input })).toThrow(expect.objectContaining({ code: 'config_invalid', details: expect.objectContaining(details) as unknown }) as Error)
})

test('prices are read in dollars per million tokens, each from its date on, and shown as they were understood', () => {
  const rows = [{ from: '2027-01-01', input: 3, output: 15, cacheRead: 0.3 }, { from: '2027-06-01', input: 0.1, output: 0.5, cacheRead: 0.01, cacheWrite5m: 0.2, cacheWrite1h: 0.3, longPrompt: { aboveInputTokens: 100_000, input: 1, output: 2, cacheRead: 0.5 } }]
  const expected = { mine: [
    { from: '2027-01-01', input: 3_000_000, output: 15_000_000, cacheRead: 300_000, cacheWrite5m: 3_750_000, cacheWrite1h: 6_000_000 },
    { from: '2027-06-01', input: 100_000, output: 500_000, cacheRead: 10_000, cacheWrite5m: 200_000, cacheWrite1h: 300_000, longPrompt: { aboveInputTokens: 100_000, input: 1_000_000, output: 2_000_000, cacheRead: 500_000, cacheWrite5m: 1_250_000, cacheWrite1h: 2_000_000 } },
  ] }
  expect(resolveSettings({ ...base, file: { model: { prices: { mine: rows } } } }).config.model.prices).toEqual(expected)
  expect(resolveSettings({ ...base, env: { SWARM_MODEL_PRICES: JSON.stringify({ mine: rows }) } })).toMatchObject({ config: { model: { prices: expected } }, sources: { 'model.prices': 'environment SWARM_MODEL_PRICES' } })
})

test.each([
  [{ mine: [{ from: 'tomorrow', input: 1, output: 1, cacheRead: 1 }] }, 'model.prices.mine.0.from'],
  [{ mine: [{ from: '2027-01-01', input: 0, output: 1, cacheRead: 1 }] }, 'model.prices.mine.0.input'],
  [{ mine: [{ from: '2027-01-01', input: 1, output: 1, cacheRead: 1 }, { from: '2027-01-01', input: 2, output: 1, cacheRead: 1 }] }, 'model.prices.mine'],
  [{ mine: [] }, 'model.prices.mine'], [{ mine: [{ from: '2027-01-01', input: 1, output: 1 }] }, 'model.prices.mine.0.cacheRead'],
])('a wrong price names its place: %j', (prices, field) => {
  expect(() => resolveSettings({ ...base, file: { model: { prices } } })).toThrow(expect.objectContaining({ code: 'config_invalid', details: expect.objectContaining({ field }) as unknown }) as Error)
})
