import { findUnit, UnitError } from './lookup.js'

/** Converts `value` from one unit to another of the same kind. */
export function convert(value, from, to) {
  const source = findUnit(from)
  const target = findUnit(to)
  if (source.kind !== target.kind) throw new UnitError(`${source.symbol} is a ${source.kind} and ${target.symbol} a ${target.kind}.`)
  // A scale with a zero of its own: `offset` is added to get the base unit (kelvin).
  const base = value * source.factor + (source.offset ?? 0)
  if (source.kind === 'temperature' && base < -1e-9) throw new UnitError(`${value} ${source.symbol} is below absolute zero.`)
  return (base - (target.offset ?? 0)) / target.factor
}
