// How a step of the gate speaks: its problems, one a line, then its summary as the last line of stdout; exit code 1 with problems.

/** @param {string} summary what was looked at, with its count */
export function pass(summary) {
  console.log(summary)
}

/** @param {string[]} problems */
export function fail(problems) {
  for (const problem of problems) console.log(problem)
  console.log(`${problems.length} problem${problems.length === 1 ? '' : 's'}`)
  process.exitCode = 1
}
