import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answeredCircuit, CIRCUIT_TRANSITIONS, CLOSED, failedCircuit, FAILURES_TO_OPEN, FIRST_OPEN_MS, LONGEST_OPEN_MS, passCircuit, releasedCircuit, type Circuit } from './circuit.ts'

function failing(times: number, from: Circuit = CLOSED, now = 0): Circuit {
  let circuit = from
  for (let i = 0; i < times; i++) circuit = failedCircuit(circuit, now, null)
  return circuit
}

describe('a circuit', () => {
  it('lets every call through until five failed in a row', () => {
    expect(passCircuit(failing(FAILURES_TO_OPEN - 1), 0)).toMatchObject({ kind: 'go' })
    expect(passCircuit(failing(FAILURES_TO_OPEN), 0)).toEqual({ kind: 'wait', until: FIRST_OPEN_MS })
    expect(answeredCircuit(failing(FAILURES_TO_OPEN - 1))).toEqual(CLOSED)
  })

  it('opens at once for as long as Retry-After says', () => {
    const circuit = failedCircuit(CLOSED, 100, 3_000)
    expect(passCircuit(circuit, 3_099)).toEqual({ kind: 'wait', until: 3_100 })
    expect(passCircuit(circuit, 3_100)).toMatchObject({ kind: 'go', circuit: { state: 'half_open' } })
  })

  it('lets one call probe when its time is over, and closes when that one is answered', () => {
    const passage = passCircuit(failing(5), FIRST_OPEN_MS)
    const circuit = passage.kind === 'go' ? passage.circuit : expect.fail('no probe')
    expect(passCircuit(circuit, FIRST_OPEN_MS)).toEqual({ kind: 'wait_for_probe' })
    expect(answeredCircuit(circuit)).toEqual(CLOSED)
    expect(passCircuit(releasedCircuit(circuit, 11_000), 11_000)).toMatchObject({ kind: 'go' })
  })

  it('pauses twice as long after each failed probe, up to two minutes', () => {
    let circuit = failing(5)
    const pauses: number[] = []
    for (let now = 0; pauses.length < 6;) {
      pauses.push(circuit.openUntil - now)
      now = circuit.openUntil
      const passage = passCircuit(circuit, now)
      circuit = failedCircuit(passage.kind === 'go' ? passage.circuit : expect.fail('no probe'), now, null)
    }
    expect(pauses).toEqual([10_000, 20_000, 40_000, 80_000, LONGEST_OPEN_MS, LONGEST_OPEN_MS])
  })

  it('for every sequence of calls: moves only as its table says, never has two probes, and never stays shut for ever', () => {
    const step = fc.record({ kind: fc.constantFrom('call', 'answered', 'failed', 'released'), wait: fc.integer({ min: 0, max: 30_000 }), retryAfterMs: fc.option(fc.integer({ min: 0, max: 60_000 })) })
    fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      let circuit: Circuit = CLOSED
      let now = 0
      let probes = 0
      const become = (next: Circuit): void => {
        if (next.state !== circuit.state) expect(CIRCUIT_TRANSITIONS[circuit.state]).toContain(next.state)
        circuit = next
      }
      for (const { kind, wait, retryAfterMs } of steps) {
        now += wait
        if (kind === 'call') {
          const passage = passCircuit(circuit, now)
          if (passage.kind === 'wait') expect(passage.until).toBeGreaterThan(now)
          if (passage.kind === 'go') {
            if (circuit.state === 'open') probes++
            become(passage.circuit)
          }
        } else if (kind === 'answered') become(answeredCircuit(circuit))
        else if (kind === 'failed') become(failedCircuit(circuit, now, retryAfterMs))
        else become(releasedCircuit(circuit, now))
        if (circuit.state !== 'half_open') probes = 0
        expect(probes).toBeLessThanOrEqual(1)
        // Whatever happened: after at most two minutes, or what Retry-After asked for, a call may be tried.
        if (circuit.state === 'open') expect(passCircuit(circuit, now + LONGEST_OPEN_MS)).toMatchObject({ kind: 'go' })
      }
    }))
  })
})
