/** A line for each kind of unit with its symbols, both in alphabetical order. */
export function listUnits(units) {
  const kinds = Map.groupBy(Object.entries(units), ([, unit]) => unit.kind)
  return [...kinds]
    .toSorted(([one], [two]) => (one < two ? -1 : 1))
    .map(([kind, entries]) => `${kind}: ${entries.map(([symbol]) => symbol).toSorted().join(', ')}\n`)
    .join('')
}
