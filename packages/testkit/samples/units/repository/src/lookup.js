import { UNITS } from './units.js'

/** A unit that is not known, or two that do not fit; the message is for the user. */
export class UnitError extends Error {
  constructor(message) {
    super(message)
    this.name = 'UnitError'
  }
}

/** Finds a unit by symbol (exact) or name (any case). */
export function findUnit(text) {
  if (Object.hasOwn(UNITS, text)) return { symbol: text, ...UNITS[text] }
  const name = text.toLowerCase()
  const found = Object.entries(UNITS).find(([, unit]) => unit.names.includes(name))
  if (!found) throw new UnitError(`There is no unit "${text}".`)
  return { symbol: found[0], ...found[1] }
}
