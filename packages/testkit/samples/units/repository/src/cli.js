import { convert } from './convert.js'
import { formatNumber } from './format.js'
import { UnitError } from './lookup.js'
import { parseNumber } from './parse.js'

export const HELP = 'usage: measure VALUE FROM TO\n'

/**
 * The command: takes its arguments, gives what to print and the exit code.
 * @returns {{ code: number, out: string, err: string }}
 */
export function run(args) {
  if (args.includes('--help')) return { code: 0, out: HELP, err: '' }
  const [value, from, to, ...rest] = args
  if (to === undefined || rest.length > 0) return { code: 2, out: '', err: HELP }
  const number = parseNumber(value)
  if (number === null) return { code: 2, out: '', err: `"${value}" is not a number.\n` }
  try {
    return { code: 0, out: `${formatNumber(number)} ${from} = ${formatNumber(convert(number, from, to))} ${to}\n`, err: '' }
  } catch (error) {
    if (!(error instanceof UnitError)) throw error
    return { code: 1, out: '', err: `${error.message}\n` }
  }
}
