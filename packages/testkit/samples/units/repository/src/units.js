/** Units by symbol: kind, names, and how many of the kind's base unit (metre, kilogram, second) one of it is. */
export const UNITS = {
  m: { kind: 'length', names: ['metre', 'metres', 'meter', 'meters'], factor: 1 },
  km: { kind: 'length', names: ['kilometre', 'kilometres', 'kilometer', 'kilometers'], factor: 1_000 },
  cm: { kind: 'length', names: ['centimetre', 'centimetres', 'centimeter', 'centimeters'], factor: 0.01 },
  mi: { kind: 'length', names: ['mile', 'miles'], factor: 1_609.344 },
  ft: { kind: 'length', names: ['foot', 'feet'], factor: 0.3048 },
  kg: { kind: 'mass', names: ['kilogram', 'kilograms'], factor: 1 },
  g: { kind: 'mass', names: ['gram', 'grams'], factor: 0.001 },
  lb: { kind: 'mass', names: ['pound', 'pounds'], factor: 0.45359237 },
  s: { kind: 'time', names: ['second', 'seconds'], factor: 1 },
  min: { kind: 'time', names: ['minute', 'minutes'], factor: 60 },
  h: { kind: 'time', names: ['hour', 'hours'], factor: 3_600 },
}
