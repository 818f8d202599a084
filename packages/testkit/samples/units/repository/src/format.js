/** A number with at most six decimals and no zeros at its end. */
export function formatNumber(value) {
  return String(Number(value.toFixed(6)))
}
