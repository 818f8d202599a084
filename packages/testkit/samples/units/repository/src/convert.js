import { findUnit, UnitError } from './lookup.js'

/** Converts `value` from one unit to another of the same kind. */
export function convert(value, from, to) {
  const source = findUnit(from)
  const target = findUnit(to)
  if (source.kind !== target.kind) throw new UnitError(`${source.symbol} is a ${source.kind} and ${target.symbol} a ${target.kind}.`)
  return (value * source.factor) / target.factor
}
