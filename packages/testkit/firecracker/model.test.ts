import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { REQUESTS } from '@swarm/runner/drivers/firecracker/requests.ts'
import { readApi } from './openapi.ts'
import { createStateMachine, operationName, RULES, type State } from './states.ts'

// The model that the Firecracker that is none is built on finds what is wrong: otherwise the driver's contract test would prove nothing.
const api = readApi(fileURLToPath(new URL('./firecracker.yaml', import.meta.url)))
const SIZE = { vcpus: 2, memoryMb: 512, scratchMb: 64 }

describe('the API description', () => {
  test.each([
    ['a field that is unknown', 'PUT', '/vsock', { guest_cid: 3, uds_path: '/v', extra: 1 }, 'body.extra is no known field'],
    ['a nested field that is unknown', 'PUT', '/snapshot/load', { snapshot_path: '/s', mem_backend: { backend_type: 'File', backend_path: '/m', extra: 1 } }, 'body.mem_backend.extra is no known field'],
    ['a field that is missing', 'PUT', '/vsock', { guest_cid: 3 }, 'body.uds_path is missing'],
    ['a value out of its range', 'PUT', '/vsock', { guest_cid: 2, uds_path: '/v' }, 'body.guest_cid is 2, out of 3…'],
    ['a value of another type', 'PUT', '/machine-config', { vcpu_count: '1', mem_size_mib: 512 }, 'body.vcpu_count is no integer'],
    ['a word that is not among the known', 'PATCH', '/vm', { state: 'Stopped' }, 'body.state is "Stopped", not one of Paused, Resumed'],
    ['an id that differs from the path', 'PUT', '/drives/root', { drive_id: 'scratch', is_root_device: true }, 'drive_id of the path and of the body differ'],
    ['a body that is missing', 'PUT', '/actions', undefined, 'its body is missing'],
    ['a body where none belongs', 'GET', '/version', {}, 'it takes no body'],
    ['a path that is unknown', 'PUT', '/network', {}, 'there is no PUT /network'],
    ['a method that is unknown', 'PATCH', '/vsock', {}, 'there is no PATCH /vsock'],
  ])('finds %s', (_what, method, path, body, problem) => {
    expect(api.check(method, path, body).problems).toEqual([problem])
  })

  test('has nothing against any request of the driver, and knows an operation of the order for each', () => {
    const requests = [...Object.entries(REQUESTS).filter(([name]) => !/drive/i.test(name)).map(([, request]) => (request as (size: typeof SIZE) => ReturnType<typeof REQUESTS.version>)(SIZE)),
      ...(['root', 'scratch'] as const).flatMap((drive) => [REQUESTS.drive(drive), REQUESTS.limitDrive(drive, 5)])]
    for (const { method, path, body } of requests) {
      const { operationId, problems } = api.check(method, path, body)
      expect({ method, path, problems }).toEqual({ method, path, problems: [] })
      expect(Object.keys(RULES)).toContain(operationName(operationId ?? '', body))
    }
  })

  test('is needed: without its file nothing is held against anything', () => {
    expect(() => readApi('/no/such/firecracker.yaml')).toThrow(/ENOENT/)
  })
})

describe('the order', () => {
  /** The shortest way into each state. */
  const WAYS: Record<State, readonly (keyof typeof RULES)[]> = {
    fresh: [], configured: ['putGuestBootSource'], running: ['putMetrics', 'putGuestBootSource', 'createSyncAction:InstanceStart'], paused: ['putMetrics', 'putGuestBootSource', 'createSyncAction:InstanceStart', 'patchVm:Paused'],
  }
  const reach = (state: State) => {
    const machine = createStateMachine()
    for (const operation of WAYS[state]) {
      expect(machine.refusal(operation)).toBeNull()
      machine.done(operation)
    }
    expect(machine.state).toBe(state)
    return machine
  }

  const pairs = Object.entries(RULES).flatMap(([operation, rule]) => (Object.keys(WAYS) as State[]).map((state) => [operation, state, (rule.in as readonly State[]).includes(state)] as const))
  test.each(pairs)('%s in state %s is allowed: %s', (operation, state, allowed) => {
    const refusal = reach(state).refusal(operation)
    if (!allowed) expect(refusal).toBe(`${operation} is not allowed in state ${state}`)
    // Within its states only what must come before, or may come once, is in its way.
    else expect(refusal ?? '').not.toContain('not allowed')
  })

  test('finds a second logger, a start without a kernel, a flush without metrics, and an operation that the model does not know', () => {
    const machine = createStateMachine()
    machine.done('putLogger')
    expect(machine.refusal('putLogger')).toBe('putLogger may come once')
    machine.done('putGuestVsock')
    expect(machine.refusal('createSyncAction:InstanceStart')).toBe('createSyncAction:InstanceStart needs putGuestBootSource before it')
    machine.done('loadSnapshot')
    expect(machine.refusal('createSyncAction:FlushMetrics')).toContain('needs putMetrics')
    expect(machine.refusal('putNetwork')).toContain('not among the operations')
  })

  test('lets a loaded snapshot be limited, resumed, paused and saved', () => {
    const machine = createStateMachine()
    for (const operation of ['putLogger', 'putMetrics', 'loadSnapshot', 'patchGuestDriveByID', 'patchVm:Resumed', 'patchVm:Paused', 'createSnapshot']) {
      expect(machine.refusal(operation)).toBeNull()
      machine.done(operation)
    }
  })
})
