import { expect, test } from 'vitest'
import { withCorrelationId } from './correlation.ts'
import { createLogger } from './logger.ts'

function logTo(): { lines: string[], logger: ReturnType<typeof createLogger> } {
  const lines: string[] = []
  return { lines, logger: createLogger('info', { write: (line) => { lines.push(line) } }) }
}

test('secrets do not get into the log, by key or by shape', () => {
  const { lines, logger } = logTo()
  const token = `swarm_attempt_${'a1-_'.repeat(11).slice(0, 43)}`
  logger.info({ req: { headers: { authorization: 'Bearer hidden-1' } }, apiKey: 'hidden-2', inner: { password: 'hidden-3' } }, `called with ${token}`)
  logger.error({ err: new Error('cannot reach postgres://swarm:hidden-4@db.example.org/swarm with sk-ant-hidden-555555') }, 'failed')
  expect(lines.join('')).not.toMatch(/hidden|a1-_/)
  expect(lines.join('')).toContain('postgres://swarm:[secret]@db.example.org/swarm')
  for (const line of lines) expect(() => { JSON.parse(line) }).not.toThrow()
})

test('lines carry the correlation id of what runs, once', () => {
  const { lines, logger } = logTo()
  withCorrelationId('corr-1', () => {
    logger.info('inside')
    logger.child({ correlationId: 'corr-1' }).info('of the request')
  })
  logger.info('outside')
  expect(lines.map((line) => line.match(/"correlationId":"corr-1"/g)?.length ?? 0)).toEqual([1, 1, 0])
})
