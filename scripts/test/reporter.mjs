// What vitest's own JSON report leaves out is why a test was skipped; this one writes the totals and every skip with its reason.
import { writeFileSync } from 'node:fs'

/**
 * @typedef {{ passed: number, failed: number, skipped: Skip[], failures: string[] }} PhaseResult
 *   `failures` also names what no test could report: files that do not load, errors outside of tests.
 * @typedef {{ test: string, reason: string | undefined }} Skip
 */
export default class ResultFileReporter {
  onTestRunEnd(modules, unhandledErrors) {
    /** @type {PhaseResult} */
    const result = { passed: 0, failed: 0, skipped: [], failures: [] }
    for (const module of modules) {
      for (const error of module.errors()) result.failures.push(`${module.relativeModuleId}: ${firstLine(error)}`)
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors()) result.failures.push(`${module.relativeModuleId} > ${suite.fullName}: ${firstLine(error)}`)
      }
      for (const test of module.children.allTests()) this.#count(result, module, test)
    }
    for (const error of unhandledErrors) result.failures.push(`outside of any test: ${firstLine(error)}`)
    result.failed = result.failures.length
    writeFileSync(process.env.SWARM_TEST_RESULT_FILE, JSON.stringify(result))
  }

  #count(result, module, test) {
    const { state, note, errors } = test.result()
    const name = `${module.relativeModuleId} > ${test.fullName}`
    if (state === 'passed') result.passed += 1
    else if (state === 'failed') result.failures.push(`${name}: ${firstLine(errors?.[0])}`)
    else if (state === 'skipped') result.skipped.push({ test: name, reason: note ?? reasonInTitle(test) })
    else result.failures.push(`${name}: never finished`)
  }
}

/** A suite that is skipped as a whole ends its title with the reason in parentheses. */
function reasonInTitle(test) {
  for (let parent = test.parent; parent.type === 'suite'; parent = parent.parent) {
    const reason = parent.options.mode === 'skip' ? /\(([^()]+)\)$/.exec(parent.name)?.[1] : undefined
    if (reason) return reason
  }
  return undefined
}

function firstLine(error) {
  return String(error?.message ?? error).split('\n')[0]
}
