/** Reads a number as people write it: "1 000.5", "-3", "2e3". Anything else is null. */
export function parseNumber(text) {
  const plain = text.replaceAll(/[\s_]/g, '')
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(plain) ? Number(plain) : null
}
